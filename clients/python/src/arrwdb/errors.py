"""What can go wrong, as exceptions: one class for each slug of the server's table of errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from .v1 import error_pb2

__all__ = [
    "AlreadyExists",
    "ArrwdbError",
    "Cancelled",
    "Conflict",
    "Corrupt",
    "CursorExpired",
    "CursorUnknown",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


@dataclass(frozen=True)
class FieldViolation:
    """One field that is wrong, and why."""

    field: str
    """The field's path, for example `chunks[2].embedding`."""
    detail: str
    """What must be true of it."""


class ArrwdbError(Exception):
    """Any failure of a call, or of one item of an ingest. Its class and `slug` say which kind."""

    slug: str = "unknown"
    """The stable name of the kind of error, for example `not-found`: API, unlike `detail`."""

    def __init__(
        self,
        detail: str,
        *,
        slug: str | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        floor_cursor: str | None = None,
        from_server: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        """What happened, in one sentence for a person."""
        if slug is not None:
            self.slug = slug
        self.violations = violations
        """The fields that are wrong, where that is the cause."""
        self.retry_after = retry_after
        """Seconds after which a retry is worth it, where the server knows."""
        self.floor_cursor = floor_cursor
        """With `CursorExpired`: the oldest cursor that works."""
        self.from_server = from_server
        """Whether arrwdb said so. Otherwise it is the client's finding, or the network's."""

    def __str__(self) -> str:
        return f"{self.slug}: {self.detail}"


class InvalidArgument(ArrwdbError):
    """The request is wrong; `violations` say where."""

    slug = "invalid-argument"


class NotFound(ArrwdbError):
    """There is no such library, document or consumer."""

    slug = "not-found"


class AlreadyExists(ArrwdbError):
    """The name or id is taken."""

    slug = "already-exists"


class Conflict(ArrwdbError):
    """Somebody else changed it: the revision or the consumer's generation is stale."""

    slug = "conflict"


class FailedPrecondition(ArrwdbError):
    """The state does not allow it."""

    slug = "failed-precondition"


class TooLarge(ArrwdbError):
    """The request or the document is too large."""

    slug = "too-large"


class ResourceExhausted(ArrwdbError):
    """A limit is used up."""

    slug = "resource-exhausted"


class CursorExpired(ArrwdbError):
    """What followed the cursor is no longer kept: export, then follow from the export's cursor."""

    slug = "cursor-expired"


class CursorUnknown(ArrwdbError):
    """The cursor is not of this log's past: export, then follow from the export's cursor."""

    slug = "cursor-unknown"


class Unavailable(ArrwdbError):
    """The server cannot be reached, or cannot do this now."""

    slug = "unavailable"


class DeadlineExceeded(ArrwdbError):
    """Not done in time. A write may have been done all the same."""

    slug = "deadline-exceeded"


class Cancelled(ArrwdbError):
    """The call was given up."""

    slug = "cancelled"


class Unauthenticated(ArrwdbError):
    """The server wants to know who asks."""

    slug = "unauthenticated"


class PermissionDenied(ArrwdbError):
    """The server does not allow it."""

    slug = "permission-denied"


class Unimplemented(ArrwdbError):
    """This server does not do that."""

    slug = "unimplemented"


class Corrupt(ArrwdbError):
    """Stored bytes are damaged."""

    slug = "corrupt"


class Internal(ArrwdbError):
    """A defect of the server, or a connection that broke in the middle of a call."""

    slug = "internal"


_BY_SLUG: dict[str, type[ArrwdbError]] = {kind.slug: kind for kind in ArrwdbError.__subclasses__()}

# What a status means that does not come from arrwdb but from gRPC itself, or from something
# between.
_SLUG_BY_CODE = {
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.UNKNOWN: "internal",
    grpc.StatusCode.INVALID_ARGUMENT: "invalid-argument",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline-exceeded",
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.ALREADY_EXISTS: "already-exists",
    grpc.StatusCode.PERMISSION_DENIED: "permission-denied",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "resource-exhausted",
    grpc.StatusCode.FAILED_PRECONDITION: "failed-precondition",
    grpc.StatusCode.ABORTED: "conflict",
    # Where a message is larger than the server takes.
    grpc.StatusCode.OUT_OF_RANGE: "too-large",
    grpc.StatusCode.UNIMPLEMENTED: "unimplemented",
    grpc.StatusCode.INTERNAL: "internal",
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.DATA_LOSS: "corrupt",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
}

_DETAILS = "grpc-status-details-bin"
_DOMAIN = "arrwdb"


def error_of_slug(
    slug: str,
    detail: str,
    *,
    violations: tuple[FieldViolation, ...] = (),
    retry_after: float | None = None,
    floor_cursor: str | None = None,
    from_server: bool = False,
) -> ArrwdbError:
    """The exception of a slug; a plain `ArrwdbError` for one that this client does not know."""
    return _BY_SLUG.get(slug, ArrwdbError)(
        detail,
        slug=slug,
        violations=violations,
        retry_after=retry_after,
        floor_cursor=floor_cursor,
        from_server=from_server,
    )


def error_of_call(error: grpc.RpcError) -> ArrwdbError:
    """The exception of a call that failed."""
    call = cast(grpc.Call, error)
    slug = _SLUG_BY_CODE.get(call.code(), "internal")
    violations: tuple[FieldViolation, ...] = ()
    retry_after = floor_cursor = None
    from_server = False
    for key, value in call.trailing_metadata() or ():
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        for any_detail in status_pb2.Status.FromString(value).details:
            if any_detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(any_detail.value)
                if info.domain == _DOMAIN:
                    slug = info.reason.lower().replace("_", "-")
                    floor_cursor = info.metadata.get("floor_cursor")
                    from_server = True
            elif any_detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest.FromString(any_detail.value)
                violations = tuple(
                    FieldViolation(v.field, v.description) for v in bad.field_violations
                )
            elif any_detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo.FromString(any_detail.value)
                retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return error_of_slug(
        slug,
        call.details() or "the call failed",
        violations=violations,
        retry_after=retry_after,
        floor_cursor=floor_cursor,
        from_server=from_server,
    )


def error_of_item(error: error_pb2.Error) -> ArrwdbError:
    """The exception of an item of a stream that was refused. It is reported, not raised."""
    return error_of_slug(
        error.slug,
        error.detail,
        violations=tuple(FieldViolation(v.field, v.detail) for v in error.violations),
        retry_after=error.retry_after_ms / 1000 if error.HasField("retry_after_ms") else None,
        from_server=True,
    )
