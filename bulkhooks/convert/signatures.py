"""What Auth0 hands to the hooks of each trigger, and where an action of that trigger finds it.

Taken from the documentation of hooks' extensibility points and of actions' event objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One trigger: what its hooks are called with, and the action that takes their place."""

    #: What an action exports.
    export: str
    #: Whether its actions are given `api`.
    api: bool
    #: A hook's parameters by their usual names; the callback is the last.
    parameters: tuple[str, ...]
    #: What of the parameters can be told from an event: `user.email` is `event.user.email`.
    fields: Mapping[str, str]
    #: Errors that hooks of this trigger find among their globals, with what denies by them.
    errors: Mapping[str, str] = field(default_factory=dict)
    #: Whether logins wait for it, so that a hook which never calls back has denied them.
    blocking: bool = True


_SECRETS = {"context.webtask.secrets": "event.secrets"}
_CONNECTION = {
    "context.connection.id": "event.connection.id",
    "context.connection.name": "event.connection.name",
    "context.connection.strategy": "event.connection.strategy",
    "context.connection.metadata": "event.connection.metadata",
    "context.connection.tenant": "event.tenant.id",
}
_REQUEST = {
    "context.requestLanguage": "event.request?.language",
    "context.request.ip": "event.request.ip",
    "context.request.language": "event.request.language",
    "context.request.hostname": "event.request.hostname",
    "context.request.method": "event.request.method",
    "context.request.user_agent": "event.request.user_agent",
    "context.request.geoip": "event.request.geoip",
}
_CLIENT_ID = {"context.clientID": "event.client?.client_id"}
_PROFILE = {
    f"user.{name}": f"event.user.{name}"
    for name in ("name", "given_name", "family_name", "nickname", "picture")
}
_METADATA = {
    "user.user_metadata": "event.user.user_metadata",
    "user.app_metadata": "event.user.app_metadata",
}
#: A hook is told a user's id without the connection that stands before it.
BARE_ID = 'event.user.user_id?.replace(/^[^|]*\\|/, "")'

SIGNATURES: Mapping[str, Signature] = {
    "credentials-exchange": Signature(
        export="onExecuteCredentialsExchange",
        api=True,
        parameters=("client", "scope", "audience", "context", "callback"),
        fields={
            "client.id": "event.client.client_id",
            "client.name": "event.client.name",
            "client.tenant": "event.tenant.id",
            "client.metadata": "event.client.metadata",
            "scope": "event.accessToken.scope",
            "audience": "event.resource_server.identifier",
            **_REQUEST,
            **_CLIENT_ID,
            "context.request.body": "event.request.body",
            **_SECRETS,
        },
        errors={
            "InvalidScopeError": "invalid_scope",
            "InvalidRequestError": "invalid_request",
            "ServerError": "server_error",
        },
    ),
    "pre-user-registration": Signature(
        export="onExecutePreUserRegistration",
        api=True,
        parameters=("user", "context", "callback"),
        fields={
            "user.tenant": "event.tenant.id",
            "user.username": "event.user.username",
            "user.email": "event.user.email",
            "user.phoneNumber": "event.user.phone_number",
            **_PROFILE,
            **_METADATA,
            **_CONNECTION,
            **_REQUEST,
            **_CLIENT_ID,
            "context.request.body": "event.request.body",
            "context.renderLanguage": "event.transaction?.locale",
            **_SECRETS,
        },
        errors={"PreUserRegistrationError": ""},
    ),
    "post-user-registration": Signature(
        export="onExecutePostUserRegistration",
        api=False,
        parameters=("user", "context", "callback"),
        fields={
            "user.id": BARE_ID,
            "user.tenant": "event.tenant.id",
            "user.username": "event.user.username",
            "user.email": "event.user.email",
            "user.emailVerified": "event.user.email_verified",
            "user.phoneNumber": "event.user.phone_number",
            "user.phoneNumberVerified": "event.user.phone_verified",
            **_PROFILE,
            **_METADATA,
            **_CONNECTION,
            **_REQUEST,
            "context.renderLanguage": "event.transaction?.locale",
            **_SECRETS,
        },
        blocking=False,
    ),
    "post-change-password": Signature(
        export="onExecutePostChangePassword",
        api=False,
        parameters=("user", "context", "callback"),
        fields={
            "user.id": BARE_ID,
            "user.username": "event.user.username",
            "user.email": "event.user.email",
            "user.last_password_reset": "event.user.last_password_reset",
            **_CONNECTION,
            **_REQUEST,
            **_SECRETS,
        },
        blocking=False,
    ),
    "send-phone-message": Signature(
        export="onExecuteSendPhoneMessage",
        api=False,
        parameters=("recipient", "text", "context", "callback"),
        fields={
            "recipient": "event.message_options.recipient",
            "text": "event.message_options.text",
            "context.message_type": "event.message_options.message_type",
            "context.action": "event.message_options.action",
            "context.code": "event.message_options.code",
            "context.language": "event.request?.language",
            "context.ip": "event.request?.ip",
            "context.user_agent": "event.request?.user_agent",
            **_REQUEST,
            "context.client.client_id": "event.client.client_id",
            "context.client.name": "event.client.name",
            "context.client.client_metadata": "event.client.metadata",
            **_CLIENT_ID,
            "context.user.user_id": "event.user.user_id",
            "context.user.name": "event.user.name",
            "context.user.email": "event.user.email",
            "context.user.user_metadata": "event.user.user_metadata",
            "context.user.app_metadata": "event.user.app_metadata",
            **_SECRETS,
        },
    ),
}
