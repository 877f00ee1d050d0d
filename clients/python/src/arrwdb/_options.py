"""What a client is set up with, the same for both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from ._policy import Retry

MIB = 1024 * 1024

# A server that comes back is noticed soon; gRPC's own pauses grow to two minutes.
_RECONNECT_PAUSE_MS = 100
_RECONNECT_PAUSE_MAX_MS = 2_000
# A connection that is dead without having been closed is noticed by pings under way.
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class Options:
    """Where a client connects, and how."""

    target: str
    timeout: float
    retry: Retry
    token: str | None
    certificate: bytes | None
    message_bytes_max: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """Of every call."""
        return None if self.token is None else (("authorization", f"Bearer {self.token}"),)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """`None` for a connection in the clear."""
        if self.certificate is None:
            return None
        return grpc.ssl_channel_credentials(root_certificates=self.certificate)

    def channel_options(self, *, alone: bool) -> Sequence[tuple[str, int | str]]:
        """`alone`: a connection that nothing else uses."""
        return (
            ("grpc.primary_user_agent", "arrwdb-python"),
            # The server says how large its replies are; it is no stranger.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_PAUSE_MS),
            ("grpc.min_reconnect_backoff_ms", _RECONNECT_PAUSE_MAX_MS),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_PAUSE_MAX_MS),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.http2.max_pings_without_data", 0),
            *((("grpc.use_local_subchannel_pool", 1),) if alone else ()),
        )
