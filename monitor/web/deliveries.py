"""``/v1/deliveries``: how the delivery routes stand, and a test through one of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import DeliveryError
from monitor.web.responses import Problem, json, services


async def get_deliveries(request: Request) -> Response:
    """List every route with how far it has come."""
    return json({"routes": services(request).deliveries.status()})


async def post_test(request: Request) -> Response:
    """Send a message that says it is a test; what the receiver made of it is the answer."""
    deliveries, name = services(request).deliveries, request.path_params["route"]
    if name not in deliveries.routes:
        known = ", ".join(deliveries.routes) or "none is configured"
        raise Problem(404, f"there is no route of this name; the routes: {known}", "route")
    try:
        await deliveries.test(name)
    except DeliveryError as error:
        return json({"route": name, "delivered": False, "error": str(error)})
    return json({"route": name, "delivered": True, "error": None})
