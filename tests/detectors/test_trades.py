from __future__ import annotations

from detectors import Bank, Features, Hasher, Settings

HASHER = Hasher(1)


def use(bank: Bank, agent: int, tools: list[str], actions: int = 80) -> None:
    bank.step([agent] * actions, [feature(tools[i % len(tools)], i) for i in range(actions)])


def feature(tool: str, i: int) -> Features:
    return HASHER.features(tool=tool, args={}, ts_s=1e9 + i, session="s", version=None, provenance=None)


def trade(bank: Bank, agent: int) -> int:
    return int(bank._rows[bank.row(agent)]["trade"])


def test_agents_that_use_the_same_tools_are_of_one_trade_and_others_of_another() -> None:
    bank = Bank(Settings())
    for agent, tools in enumerate(
        [["read", "mail"], ["read", "mail", "list"], ["buy", "pay"], ["pay", "buy", "buy"]]
    ):
        use(bank, agent, tools)
    assert trade(bank, 0) == trade(bank, 1) != trade(bank, 2) == trade(bank, 3)


def test_an_agent_that_has_done_little_has_no_trade_yet() -> None:
    bank = Bank(Settings())
    use(bank, 1, ["read"], actions=20)
    assert trade(bank, 1) == 0


def test_there_are_never_more_trades_than_there_is_room_for() -> None:
    bank = Bank(Settings())
    for agent in range(80):
        use(bank, agent, [f"tool-{agent}"], actions=40)
    assert max(trade(bank, agent) for agent in range(80)) <= 32
