"""What a redirect makes of a request, and what of it another origin may not see."""

from __future__ import annotations

from dataclasses import replace

from .errors import RefusedError
from .messages import OutboundRequest, OutboundResponse
from .urls import Url, join_url

REDIRECTS = frozenset({301, 302, 303, 307, 308})

# All else may be a credential, or hold one, and stays with the origin that it was meant for.
HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
OF_A_BODY = frozenset({"content-type", "content-encoding", "content-language"})


def redirected(
    request: OutboundRequest, at: Url, response: OutboundResponse
) -> OutboundRequest | None:
    """The request that follows a redirect; None when the answer is none.

    RefusedError for one that may not be followed: from https to http, with a body to another
    origin, to two places at once.
    """
    status = response.status
    locations = [value for name, value in response.headers if name == "location"]
    if status not in REDIRECTS or not locations:
        return None
    if len(locations) > 1:
        raise RefusedError(f"{at.origin.host} redirects to two places", host=at.origin.host)
    goal = join_url(at, locations[0])
    there, here = goal.origin, at.origin
    if here.scheme == "https" and there.scheme == "http":
        raise RefusedError(
            f"{here.host} redirects from https to http, which is not followed", host=there.host
        )
    following = replace(request, url=str(goal))
    if (status == 303 and request.method not in ("GET", "HEAD")) or (
        status in (301, 302) and request.method == "POST"
    ):
        kept = tuple(item for item in following.headers if item[0].lower() not in OF_A_BODY)
        following = replace(following, method="GET", body=None, headers=kept)
    if there != here:
        if following.body:
            raise RefusedError(
                f"{here.host} redirects to {there.host}, which may not see the request's body",
                host=there.host,
            )
        kept = tuple(item for item in following.headers if item[0].lower() in HARMLESS)
        following = replace(following, headers=kept)
    return following
