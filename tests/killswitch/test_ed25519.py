from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from killswitch.trust import ed25519
from killswitch.trust.ed25519 import PURE, Backend, is_well_formed

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
NATIVE = ed25519.native()
BACKENDS = [PURE, *([NATIVE] if NATIVE else [])]

# RFC 8032 §7.1: secret key, public key, message, signature.
VECTORS = {
    "1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    "2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    "3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    "1024": (
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
        (
            "08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98fa6e264bf09efe12ee50f8f54e9f77b1"
            "e355f6c50544e23fb1433ddf73be84d879de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d"
            "658675fc6ea534e0810a4432826bf58c941efb65d57a338bbd2e26640f89ffbc1a858efcb8550ee3a5e1998bd177e93a"
            "7363c344fe6b199ee5d02e82d522c4feba15452f80288a821a579116ec6dad2b3b310da903401aa62100ab5d1a36553e"
            "06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbefefd75499da96bd68a8a97b928a8bbc10"
            "3b6621fcde2beca1231d206be6cd9ec7aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed1"
            "85ce81bd84359d44254d95629e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2d17ba70eb6248e594e1a2297acbbb39d"
            "502f1a8c6eb6f1ce22b3de1a1f40cc24554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f270"
            "88d78b7e883c8759d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc2732e69485bbc9c90bfbd62481d9089b"
            "eccf80cfe2df16a2cf65bd92dd597b0707e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128ba"
            "b27af87a71314f318c782b23ebfe808b82b0ce26401d2e22f04d83d1255dc51addd3b75a2b1ae0784504df543af8969b"
            "e3ea7082ff7fc9888c144da2af58429ec96031dbcad3dad9af0dcbaaaf268cb8fcffead94f3c7ca495e056a9b47acdb7"
            "51fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c42f58c30c04aafdb038dda0847dd988d"
            "cda6f3bfd15c4b4c4525004aa06eeff8ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34df"
            "f7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401adebf5a7e08d78ff4ef5d63653a65040cf9bfd4aca7"
            "984a74d37145986780fc0b16ac451649de6188a7dbdf191f64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e4"
            "88acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a32ef5b52a1ecc820e308aa342721aac09"
            "43bf6686b64b2579376504ccc493d97e6aed3fb0f9cd71a43dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5f"
            "b93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b50d334ba77c225bc307ba537152f3f161"
            "0e4eafe595f6d9d90d11faa933a15ef1369546868a7f3a45a96768d40fd9d03412c091c6315cf4fde7cb68606937380d"
            "b2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c0618983f8741c5ef68d3a101e8a3b8ca"
            "c60c905c15fc910840b94c00a0b9d0"
        ),
        (
            "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350aa5371b1508f9f4528ecea23c436d94b"
            "5e8fcd4f681e30a6ac00a9704a188a03"
        ),
    ),
    "SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
            "454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
            "3dca179c138ac17ad9bef1177331a704"
        ),
    ),
}


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.param
    return found


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_the_vectors_of_the_rfc_hold(backend: Backend, vector: tuple[str, str, str, str]) -> None:
    seed, public, message, signature = map(bytes.fromhex, vector)
    assert backend.public_key(seed) == public
    assert backend.sign(seed, message) == signature
    assert backend.verify(public, signature, message)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_the_module_uses_one_of_them(vector: tuple[str, str, str, str]) -> None:
    seed, public, message, signature = map(bytes.fromhex, vector)
    assert (ed25519.public_key(seed), ed25519.sign(seed, message)) == (public, signature)
    assert ed25519.verify(public, signature, message)
    assert not ed25519.verify(public, signature, message + b"!")


def all_agree(public: bytes, signature: bytes, message: bytes) -> bool:
    if not is_well_formed(public, signature):
        return False
    answers = {backend.verify(public, signature, message) for backend in BACKENDS}
    assert len(answers) == 1
    return answers.pop()


slow = settings(deadline=None, max_examples=40)  # pure Python takes milliseconds
seeds = st.binary(min_size=32, max_size=32)


@slow
@given(seeds, st.binary(max_size=300))
def test_the_backends_sign_alike(seed: bytes, message: bytes) -> None:
    assert len({backend.public_key(seed) for backend in BACKENDS}) == 1
    signature = {backend.sign(seed, message) for backend in BACKENDS}
    assert len(signature) == 1
    assert all_agree(PURE.public_key(seed), signature.pop(), message)


@slow
@given(seeds, st.binary(max_size=40), st.data())
def test_the_backends_agree_on_whatever_was_flipped(seed: bytes, message: bytes, data: st.DataObject) -> None:
    parts = [PURE.public_key(seed), PURE.sign(seed, message), message + b"."]
    which = data.draw(st.integers(0, 2))
    changed = bytearray(parts[which])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[which] = bytes(changed)
    assert not all_agree(*parts)


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
@example(b"", b"", b"")
def test_no_bytes_make_it_raise(public: bytes, signature: bytes, message: bytes) -> None:
    assert not ed25519.verify(public, signature, message)
    assert ed25519.is_public_key(public) in (True, False)


@slow
@given(seeds, st.binary(min_size=64, max_size=64), st.binary(max_size=20))
def test_backends_agree_on_any_key_and_any_signature(public: bytes, signature: bytes, message: bytes) -> None:
    scalar = int.from_bytes(signature[32:], "little") % L
    assert not all_agree(public, signature[:32] + scalar.to_bytes(32, "little"), message)


def test_a_signature_has_one_spelling_only() -> None:
    seed = bytes(range(32))
    public, signature = ed25519.public_key(seed), ed25519.sign(seed, b"stop")
    beyond = int.from_bytes(signature[32:], "little") + L
    assert ed25519.verify(public, signature, b"stop")
    assert not ed25519.verify(public, signature[:32] + beyond.to_bytes(32, "little"), b"stop")


def encodings_of_small_order() -> list[bytes]:
    """All encodings, canonical or not, of the points whose order divides 8 (ristretto's and libsodium's lists)."""
    eighth = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    canonical = [0, 1, eighth, P - eighth, P - 1]
    ys = [*canonical, *(y + P for y in canonical if y + P < 1 << 255)]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


@pytest.mark.parametrize("point", encodings_of_small_order(), ids=lambda point: point.hex()[:8])
def test_points_of_small_order_sign_nothing(point: bytes) -> None:
    # With such a key, R = 0 or the key itself and S = 0 would "sign" one message in eight, for whoever.
    neutral = (1).to_bytes(32, "little")
    honest = ed25519.public_key(bytes(32))
    assert not ed25519.is_public_key(point)
    for number in range(16):
        assert not ed25519.verify(point, neutral + bytes(32), b"%d" % number)
        assert not ed25519.verify(point, point + bytes(32), b"%d" % number)
    assert not ed25519.verify(honest, point + bytes(32), b"stop")


@pytest.mark.parametrize("y", [*range(P, 1 << 255), 2, 7], ids=lambda y: f"{y - P:+d}" if y >= P else str(y))
def test_numbers_beyond_the_field_and_off_the_curve_are_no_keys(y: int) -> None:
    for sign in (0, 1):
        point = (y | sign << 255).to_bytes(32, "little")
        assert not ed25519.is_public_key(point)
        assert not ed25519.verify(point, point + bytes(32), b"stop")


def test_a_key_with_a_part_of_small_order_is_judged_alike() -> None:
    """Where the equations with and without the cofactor differ, both backends take the one without."""
    seed, message = bytes(range(32)), b"stop"
    torsion = ed25519._decompress(encodings_of_small_order()[4])
    honest = ed25519._decompress(ed25519.public_key(seed))
    assert torsion is not None
    assert honest is not None
    mixed = ed25519._compress(ed25519._add(honest, torsion))
    scalar, prefix = ed25519._expand(seed)
    answers = set()
    for number in range(32):
        text = message + b"%d" % number
        nonce = ed25519._hash_to_scalar(prefix, text)
        point = ed25519._times_base(nonce)
        answer = (nonce + ed25519._hash_to_scalar(point, mixed, text) * scalar) % L
        answers.add(all_agree(mixed, point + answer.to_bytes(32, "little"), text))
    # Such a signature holds only where the challenge happens to be a multiple of 8.
    assert answers == {True, False}


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ed25519.sign(bytes(length), b"stop")
    with pytest.raises(ValueError, match="32 bytes"):
        ed25519.public_key(bytes(length))


def test_each_new_seed_is_another() -> None:
    assert len({ed25519.generate() for _ in range(100)}) == 100


WITHOUT = """
import sys
for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
    del sys.modules[name]
sys.modules["cryptography"] = None  # as Python notes a module that is not there
from killswitch.trust import ed25519
assert ed25519.backend() is ed25519.PURE
seed = bytes(32)
signature = ed25519.sign(seed, b"stop")
assert ed25519.verify(ed25519.public_key(seed), signature, b"stop")
print(signature.hex())
"""


def test_it_works_the_same_where_cryptography_is_missing() -> None:
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=root, timeout=60, check=True
    )
    assert ran.stdout.strip() == ed25519.sign(bytes(32), b"stop").hex()


def test_importing_the_package_does_not_look_for_cryptography_yet() -> None:
    root = Path(__file__).resolve().parents[2]
    code = "import killswitch; print(killswitch.trust.ed25519.native.cache_info().misses)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60, check=True
    )
    assert ran.stdout.strip() == "0"
