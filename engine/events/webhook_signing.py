"""What signs messages to a webhook, as Standard Webhooks has it: with one secret, or with several
side by side, so that a secret can be changed without a gap."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import InvalidSettings

if TYPE_CHECKING:
    from ..declared.webhook import Webhook


class Signer:
    """Holds a webhook's secrets, and shows them to nobody."""

    def __init__(self, secrets: str) -> None:
        """`secrets` have spaces between them. Raises ValueError, which may show one."""
        from standardwebhooks import Webhook as Secret
        from standardwebhooks.webhooks import EmptyWebhookSecretError

        try:
            self._secrets = [Secret(secret) for secret in secrets.split()]
        except EmptyWebhookSecretError as error:
            raise ValueError(str(error)) from None
        if not self._secrets:
            raise ValueError("no secret")

    def headers(self, id: str, body: str) -> dict[str, str]:
        """Those of a message that is sent now."""
        now = datetime.now(UTC)
        signatures = [each.sign(msg_id=id, timestamp=now, data=body) for each in self._secrets]
        return {
            "content-type": "application/json",
            "user-agent": "ucop",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def signer_of(webhook: Webhook) -> Signer:
    """What signs for a webhook. Raises InvalidSettings where its secret is not here, or is none."""
    secrets = os.environ.get(webhook.secret_env, "")
    if not secrets.strip():
        raise InvalidSettings(f"the environment variable {webhook.secret_env} is not set here")
    try:
        return Signer(secrets)
    except ValueError:  # what it says may show the secret
        raise InvalidSettings(
            f"the secret in {webhook.secret_env} is not one: whsec_ and base64"
        ) from None
