"""What Amazon's services check of each request and moto does not: its signature (Version 4), recomputed by
botocore's own signer, and whether its body is the one that was signed.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import base64
import datetime
import hashlib
import hmac
import io
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request, *SignedHeaders=(?P<signed>[^,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
# How far the clocks of a client and of the service may be apart.
SKEW_MAX = datetime.timedelta(minutes=15)
CONTENT = "x-amz-content-sha256"
CHECKSUMS = {
    "content-md5": lambda body: hashlib.md5(body).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


@dataclass
class Refusal:
    """How the service answers a request that it does not do."""

    status: str
    code: str
    service: str = "s3"

    def answer(self, method: str, start_response):
        if self.service == "dynamodb":
            body = json.dumps({"__type": f"com.amazon.coral.service#{self.code}"})
            headers, status = [("Content-Type", "application/x-amz-json-1.0")], "400 Bad Request"
        else:
            body = f"<Error><Code>{self.code}</Code><Message>refused</Message></Error>"
            headers, status = [("Content-Type", "application/xml")], self.status
        # An answer to HEAD has no body, so that it cannot say why.
        told = b"" if method == "HEAD" else body.encode()
        start_response(status, [*headers, ("Content-Length", str(len(told)))])
        return [told]


def forbidden(code: str, service: str = "s3") -> Refusal:
    return Refusal("403 Forbidden", code, service)


def refusal(environ: dict, secrets: dict[str, str]) -> Refusal | None:
    """Why this request is refused, where those who may make one have these secrets by key. It takes the
    body, and puts it back. A request that is not signed is anybody's, and not refused here."""
    headers = {k.removeprefix("HTTP_").replace("_", "-").lower(): v for k, v in environ.items()
               if k.startswith("HTTP_") or (k in ("CONTENT_TYPE", "CONTENT_LENGTH") and v)}
    if "authorization" not in headers:
        return None
    claimed = AUTHORIZATION.fullmatch(headers["authorization"])
    if not claimed:
        return Refusal("400 Bad Request", "AuthorizationHeaderMalformed")
    service = claimed["service"]
    if claimed["key"] not in secrets:
        code = "UnrecognizedClientException" if service == "dynamodb" else "InvalidAccessKeyId"
        return forbidden(code, service)
    body = take_body(environ)
    secret = secrets[claimed["key"]]
    if not is_signed(claimed, secret, headers, environ, body):
        code = "InvalidSignatureException" if service == "dynamodb" else "SignatureDoesNotMatch"
        return forbidden(code, service)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    if abs(now - datetime.datetime.strptime(headers["x-amz-date"], SIGV4_TIMESTAMP)) > SKEW_MAX:
        return forbidden("RequestTimeTooSkewed", service)
    is_empty_and_unsigned = not body and headers.get(CONTENT) == "UNSIGNED-PAYLOAD"
    if service == "s3" and not is_empty_and_unsigned and headers[CONTENT] != hashlib.sha256(body).hexdigest():
        # S3 would take a body that nobody signed; we send none, and neither does whoever tests us.
        return Refusal("400 Bad Request", "XAmzContentSHA256Mismatch")
    for name, digest in CHECKSUMS.items():
        if name in headers and base64.b64decode(headers[name]) != digest(body):
            return Refusal("400 Bad Request", "BadDigest", service)
    return None


def take_body(environ: dict) -> bytes:
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def is_signed(claimed, secret: str, headers: dict, environ: dict, body: bytes) -> bool:
    """Whether the signature is this secret's, of all that S3 wants to have signed."""
    names = claimed["signed"].split(";")
    required = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if not required <= set(names) or not set(names) <= headers.keys():
        return False
    if not headers["x-amz-date"].startswith(claimed["day"]):
        return False
    path, _, query = environ["RAW_URI"].partition("?")
    request = AWSRequest(
        method=environ["REQUEST_METHOD"], data=body, url=f"http://{headers['host']}{path}",
        # S3 signs what a query means, be a space written as + or as %20.
        params=parse_qsl(query, keep_blank_values=True), headers={name: headers[name] for name in names},
    )
    request.context["timestamp"] = headers["x-amz-date"]
    kind = S3SigV4Auth if claimed["service"] == "s3" else SigV4Auth
    signer = kind(Credentials(claimed["key"], secret), claimed["service"], claimed["region"])
    # Whoever signs more than botocore does has signed that, too.
    signer.headers_to_sign = lambda request: request.headers
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return hmac.compare_digest(signer.signature(text, request), claimed["signature"])
