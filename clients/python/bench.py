"""How fast, how big and how soon: calls of IssueToken by the client for asyncio, measured as in other languages."""

import argparse
import asyncio
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from cofactor import aio
from cofactor.aio import CofactorError, Credentials, Plaintext
from cofactor.v1 import tokens_pb2

REQUIRED = ("grpcio", "protobuf", "googleapis-common-protos", "typing-extensions")


async def _calling(target: str, seconds: float, callers: int) -> dict[str, object]:
    request = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token="constant", otp="123456"))
    async with aio.connect(target, Credentials("bench", "bench"), Plaintext()) as mfa:

        async def call() -> None:
            try:
                await mfa.tokens.IssueToken(request)
            except CofactorError as error:
                if not error.reason:  # nobody answered
                    raise

        await call()
        if not seconds:
            return {}
        began = time.monotonic()
        ends = began + seconds

        async def caller() -> int:
            calls = 0
            while time.monotonic() < ends:
                await call()
                calls += 1
            return calls

        calls = sum(await asyncio.gather(*(caller() for _ in range(callers))))
        took = time.monotonic() - began
    return {"calls": calls, "seconds": round(took, 3), "per_second": round(calls / took)}


def _kilobytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc") // 1_024


def main() -> None:
    """Call, measure, and write JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--target", required=True)
    options.add_argument("--seconds", type=float, default=5, help="0: one call")
    options.add_argument("--callers", type=int, default=32)
    options.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    given = options.parse_args()
    if not given.seconds:
        asyncio.run(_calling(given.target, 0, 1))
        return
    began = time.monotonic()
    subprocess.run([sys.executable, __file__, "--target", given.target, "--seconds", "0"], check=True)  # noqa: S603
    first_call = time.monotonic() - began
    measured = asyncio.run(_calling(given.target, given.seconds, given.callers))
    own = _kilobytes((Path(__file__).parent / "cofactor").rglob("*"))
    others = _kilobytes(
        Path(str(found.locate())) for name in REQUIRED for found in importlib.metadata.files(name) or ()
    )
    said = {"language": "python", **measured, "first_call_ms": round(first_call * 1_000)}
    given.out.write_text(json.dumps({**said, "size_kb": own, "with_dependencies_kb": own + others}) + "\n")


if __name__ == "__main__":
    main()
