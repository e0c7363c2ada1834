"""Deliveries: alerts and what people do with them, sent on to where a security team already looks."""
