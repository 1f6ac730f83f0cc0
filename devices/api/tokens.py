"""Device tokens over REST: what a device signs in with, issued to whoever manages it."""

from django.utils import timezone
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base import DeviceView, described, device_in_path
from devices.services import devices as services


class DeviceTokenItem(serializers.Serializer):
    """Shown once: nobody can ask for it again."""

    device_id = serializers.IntegerField()
    token = serializers.CharField()


class DeviceToken(DeviceView):
    """The token of one device."""

    @described("device_token", tag="devices", path=["device_id"], answer=DeviceTokenItem, code=201)
    def post(self, request: Request, device_id: str) -> Response:
        """Issue one; earlier ones stay good until they run out or are revoked."""
        device = device_in_path(request, device_id)
        _, token = services.issue_device_token(device.pk, now=timezone.now())
        body = {"device_id": device.pk, "token": token}
        return Response(body, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
