"""What REST tells of the conversations: figures over all processes."""

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import Right, may
from realtime import nodes
from realtime.core.errors import Forbidden
from realtime.runtime import runtime

NOT_FOR_YOUR_ROLE = "your role may not read the statistics"


class ConnectionFigures(serializers.Serializer):
    """Source: seed 001, "Connection Monitoring". Times are seconds."""

    totalConnections = serializers.IntegerField()
    activeConnections = serializers.IntegerField()
    messagesReceived = serializers.IntegerField()
    messagesSent = serializers.IntegerField()
    averageConnectionDuration = serializers.FloatField()
    messagesPerConnection = serializers.FloatField()


class ConnectionStatistics(APIView):
    """Connections and messages of all processes there are and were, since the first one."""

    @extend_schema(
        operation_id="stats_connections",
        tags=["stats"],
        responses={
            200: ConnectionFigures,
            401: OpenApiResponse(description="No token, or a bad one."),
            403: OpenApiResponse(description="Not for your role."),
        },
    )
    def get(self, request: Request) -> Response:
        """Figures of other processes are as old as their heartbeat, at most five seconds."""
        if not may(request.auth, Right.READ_DEVICES):
            raise Forbidden(NOT_FOR_YOUR_ROLE)
        now = timezone.now()
        own = {runtime.node_id: runtime.oversight.figures(now)}
        figures = nodes.statistics_of_all(own)
        open_by_node = {
            report["node"]: sum(report["connections"].values())
            for report in nodes.connections_by_node(now=now)
        }
        open_by_node[runtime.node_id] = len(runtime.hub.members)
        return Response(_answer(figures, active=sum(open_by_node.values())))


def _answer(figures: nodes.Figures, *, active: int) -> dict[str, int | float]:
    opened = int(figures.get("opened", 0))
    received = int(figures.get("messages_in", 0))
    sent = int(figures.get("messages_out", 0))
    return {
        "totalConnections": opened,
        "activeConnections": active,
        "messagesReceived": received,
        "messagesSent": sent,
        "averageConnectionDuration": round(figures.get("seconds_open", 0.0) / max(opened, 1), 3),
        "messagesPerConnection": round((received + sent) / max(opened, 1), 3),
    }
