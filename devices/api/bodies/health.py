"""What the server says of itself."""

from rest_framework import serializers


class Services(serializers.Serializer):
    """`healthy`, or what is wrong; redis may also be `disabled (local development)`."""

    database = serializers.CharField()
    redis = serializers.CharField()
    api = serializers.CharField()


class Health(serializers.Serializer):
    """How the parts of the server are. Only the database decides about `status`."""

    status = serializers.ChoiceField(("healthy", "unhealthy"))
    timestamp = serializers.FloatField(help_text="Seconds since 1970.")
    version = serializers.CharField()
    services = Services()
    environment = serializers.CharField()


class Pong(serializers.Serializer):
    pong = serializers.FloatField(help_text="Seconds since 1970.")
