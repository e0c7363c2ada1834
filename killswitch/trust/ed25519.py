"""Ed25519 signatures (RFC 8032): with `cryptography` where it can be imported, in pure Python where it cannot.

``import killswitch`` lives inside other people's agents and may ask them for redis-py alone, so verifying must work
without a compiled library. Both backends accept and refuse exactly the same bytes: what RFC 8032 leaves open (encodings
that are not canonical, points of small order, with which one signature fits many messages) is refused before either is
asked, and both decide the rest by the equation without the cofactor, comparing encoded points.

The pure signing takes a time that depends on the key: use it only where nobody hostile can measure it, and install
`cryptography` where keys sign often. Verifying handles nothing secret. Measured on a shared core: sign 35 µs and verify
110 µs with `cryptography`; 2 ms and 1.3 ms without.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

# RFC 8032 §5.1: the field, the order of the base point, the curve's constant, a square root of -1.
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1: Final = pow(2, (_P - 1) // 4, _P)

_SIGN_BIT: Final = 1 << 255
_KEYS_CACHED: Final = 256  # as many as a keyring holds


class Backend(NamedTuple):
    """One way to compute: its name, and functions that take seeds, keys and signatures of the right shape."""

    name: str
    public_key: Callable[[bytes], bytes]
    sign: Callable[[bytes, bytes], bytes]
    verify: Callable[[bytes, bytes, bytes], bool]


def generate() -> bytes:
    """Return a new secret seed of 32 bytes from the system's randomness."""
    return secrets.token_bytes(SEED_BYTES)


def public_key(seed: bytes) -> bytes:
    """Return the public key, 32 bytes, of a 32-byte seed (RFC 8032 §5.1.5).

    Raises
    ------
    ValueError
        If `seed` has another length.
    """
    return backend().public_key(_checked(seed))


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the signature, 64 bytes, of `message` by the key with this 32-byte seed (RFC 8032 §5.1.6).

    Raises
    ------
    ValueError
        If `seed` has another length.
    """
    return backend().sign(_checked(seed), message)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` is one of `message` by the key `public` (RFC 8032 §5.1.7).

    Never raises, whatever the bytes: a wrong length, S not below the order, an encoding that is not canonical and a
    point of small order are all False.
    """
    return is_well_formed(public, signature) and backend().verify(public, signature, message)


def is_well_formed(public: bytes, signature: bytes) -> bool:
    """Return whether both could be genuine by their shape alone; backends are asked about nothing else."""
    return (
        len(public) == PUBLIC_BYTES
        and len(signature) == SIGNATURE_BYTES
        and int.from_bytes(signature[32:], "little") < _L
        and _is_plain_point(public)
        and _is_plain_point(signature[:32])
    )


def is_public_key(public: bytes) -> bool:
    """Return whether `public` is a key that some signature could fit."""
    return len(public) == PUBLIC_BYTES and _is_plain_point(public) and _decompress(public) is not None


def _checked(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return seed


# Points, in extended homogeneous coordinates (X, Y, Z, T), x = X/Z, y = Y/Z, x*y = T/Z (RFC 8032 §5.1.4).

_Point = tuple[int, int, int, int]
_NEUTRAL: Final[_Point] = (0, 1, 1, 0)


def _add(p: _Point, q: _Point) -> _Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: _Point) -> _Point:
    x, y, z, _ = p
    a, b = x * x % _P, y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * z * z % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _negate(p: _Point) -> _Point:
    return -p[0] % _P, p[1], p[2], -p[3] % _P


def _compress(p: _Point) -> bytes:
    inverse = pow(p[2], -1, _P)
    x, y = p[0] * inverse % _P, p[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decompress(encoded: bytes) -> _Point | None:
    """Return the point with this encoding, or None if no point has it (RFC 8032 §5.1.3)."""
    number = int.from_bytes(encoded, "little")
    y, is_odd = number & ~_SIGN_BIT, number >> 255
    if y >= _P:
        return None
    u, v = y * y - 1, _D * y * y + 1
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _SQRT_MINUS_1 % _P
        if (v * x * x - u) % _P:
            return None
    if x == 0 and is_odd:
        return None
    if x & 1 != is_odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _small_orders() -> frozenset[int]:
    """Return the y coordinates of the eight points whose order divides 8."""
    # 0: order 4; 1 and -1: orders 1 and 2. Order 8: doubling gives y = 0, that is x² = -y², hence D·y⁴ + 2y² - 1 = 0.
    root = _square_root(_D + 1)
    squares = [(sign * root - 1) * pow(_D, -1, _P) % _P for sign in (1, -1)]
    eighths = {y for square in squares for y in (_square_root(square),) if y * y % _P == square}
    return frozenset({0, 1, _P - 1} | eighths | {_P - y for y in eighths})


def _square_root(square: int) -> int:
    root = pow(square, (_P + 3) // 8, _P)
    return root if root * root % _P == square % _P else root * _SQRT_MINUS_1 % _P


_SMALL_ORDERS: Final = _small_orders()


def _is_plain_point(encoded: bytes) -> bool:
    """Return whether the encoding is canonical and, if it is of a point, of none of small order."""
    y = int.from_bytes(encoded, "little") & ~_SIGN_BIT
    return y < _P and y not in _SMALL_ORDERS


# RFC 8032 §5.1: the base point has y = 4/5 and an even x.
_BASE: Final = _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")) or _NEUTRAL

_KEY_WIDTH: Final = 5  # 8 odd multiples of each public key
_BASE_WIDTH: Final = 8  # 64 of the base point, made once


def _odd_multiples(p: _Point, width: int) -> list[_Point]:
    """Return 1p, 3p, 5p ... below 2**(width - 1)."""
    twice = _double(p)
    multiples = [p]
    for _ in range((1 << (width - 2)) - 1):
        multiples.append(_add(multiples[-1], twice))
    return multiples


def _digits(scalar: int, width: int) -> dict[int, int]:
    """Return the scalar's non-zero digits by their place: all odd, below 2**(width - 1), `width` places apart."""
    digits, place = {}, 0
    while scalar:
        zeros = (scalar & -scalar).bit_length() - 1
        scalar >>= zeros
        place += zeros
        digit = scalar & ((1 << width) - 1)
        if digit >> (width - 1):
            digit -= 1 << width
        digits[place] = digit
        scalar -= digit
    return digits


def _sum_of_multiples(*terms: tuple[int, int, list[_Point]]) -> _Point:
    """Return the sum of `scalar` times a point, each given with its odd multiples, with one chain of doublings."""
    chains = [(_digits(scalar, width), multiples) for scalar, width, multiples in terms]
    total = _NEUTRAL
    for place in range(max((place for digits, _ in chains for place in digits), default=-1), -1, -1):
        total = _double(total)
        for digits, multiples in chains:
            digit = digits.get(place)
            if digit is not None:
                multiple = multiples[abs(digit) >> 1]
                total = _add(total, multiple if digit > 0 else _negate(multiple))
    return total


@lru_cache(maxsize=1)
def _base_multiples() -> list[_Point]:
    return _odd_multiples(_BASE, _BASE_WIDTH)


@lru_cache(maxsize=_KEYS_CACHED)
def _minus_key_multiples(public: bytes) -> list[_Point] | None:
    point = _decompress(public)
    return None if point is None else _odd_multiples(_negate(point), _KEY_WIDTH)


def _times_base(scalar: int) -> bytes:
    return _compress(_sum_of_multiples((scalar, _BASE_WIDTH, _base_multiples())))


def _expand(seed: bytes) -> tuple[int, bytes]:
    """Return the secret scalar and the prefix of a seed (RFC 8032 §5.1.5, steps 1 to 3)."""
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def _hash_to_scalar(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _L


def _pure_public_key(seed: bytes) -> bytes:
    return _times_base(_expand(seed)[0])


def _pure_sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = _expand(seed)
    public = _times_base(scalar)
    nonce = _hash_to_scalar(prefix, message)
    point = _times_base(nonce)
    answer = (nonce + _hash_to_scalar(point, public, message) * scalar) % _L
    return point + answer.to_bytes(32, "little")


def _pure_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    multiples = _minus_key_multiples(public)
    if multiples is None:
        return False
    point, answer = signature[:32], int.from_bytes(signature[32:], "little")
    challenge = _hash_to_scalar(point, public, message)
    found = _sum_of_multiples((answer, _BASE_WIDTH, _base_multiples()), (challenge, _KEY_WIDTH, multiples))
    return _compress(found) == point


PURE: Final = Backend("pure", _pure_public_key, _pure_sign, _pure_verify)


@lru_cache(maxsize=1)
def native() -> Backend | None:
    """Return the backend that uses `cryptography`, imported now, or None if it cannot be had here."""
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    except ImportError:
        return None

    private = lru_cache(maxsize=_KEYS_CACHED)(Ed25519PrivateKey.from_private_bytes)
    public = lru_cache(maxsize=_KEYS_CACHED)(Ed25519PublicKey.from_public_bytes)

    def native_public_key(seed: bytes) -> bytes:
        return private(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def native_verify(key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            public(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    try:
        native_public_key(bytes(SEED_BYTES))
    except UnsupportedAlgorithm:  # linked to a library built without Ed25519
        return None
    return Backend("cryptography", native_public_key, lambda seed, m: private(seed).sign(m), native_verify)


def backend() -> Backend:
    """Return the backend in use: `cryptography` if it can be imported, else pure Python."""
    return native() or PURE
