"""Information flow: where an action's values came from, and who asked for them.

A hijacked agent does what a *tool's output* told it to. So for each action we ask: is it what the user's task asks for,
or what a sentence in some output asks for? Which of its values were first seen in outputs, in data or in prose that
reads like an order? The answers are a few small numbers; the text they come from need not leave the agent's host.

The sensor runs this next to the agent, where the outputs are; the daemon runs the same code for those who send content.
Standard library only, since it lives in agents, and pure: values in, values out.
"""

from monitor.flow.session import FLOW, Flow, SessionFlow, Trace
from monitor.flow.sessions import Sessions

__all__ = ["FLOW", "Flow", "SessionFlow", "Sessions", "Trace"]
