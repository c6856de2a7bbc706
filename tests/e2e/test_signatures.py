"""What we send is signed as Amazon's services want it, to the last byte. The server of all tests checks it;
here is seen that it does, and what becomes of requests that it refuses."""

import pytest
import requests

import lake
import s3 as server
import signatures
from test_s3 import many_rows

TABLE = "s3://lake/orders"
AWKWARD_KEY = "o r+d=e&rs/2026/08/01 a+b=ü%20&?#~.csv"
OURS = "lakefeed/"
UNSIGNED = "UNSIGNED-PAYLOAD"


def ours(s3) -> list[server.Request]:
    return [r for r in s3.requests if r.headers.get("HTTP_USER_AGENT", "").startswith(OURS)]


# --- the check itself ------------------------------------------------------------------------

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "GET Object"
SECRETS = {"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EXAMPLE = {
    "REQUEST_METHOD": "GET", "RAW_URI": "/test.txt", "CONTENT_LENGTH": "", "wsgi.input_terminated": False,
    "HTTP_HOST": "examplebucket.s3.amazonaws.com", "HTTP_RANGE": "bytes=0-9",
    "HTTP_X_AMZ_CONTENT_SHA256": EMPTY, "HTTP_X_AMZ_DATE": "20130524T000000Z",
    "HTTP_AUTHORIZATION":
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
}


@pytest.mark.parametrize("change, code", [
    # Right, and years old.
    ({}, "RequestTimeTooSkewed"),
    ({"REQUEST_METHOD": "HEAD"}, "SignatureDoesNotMatch"),
    ({"RAW_URI": "/text.txt"}, "SignatureDoesNotMatch"),
    ({"RAW_URI": "/test.txt?acl"}, "SignatureDoesNotMatch"),
    ({"HTTP_RANGE": "bytes=0-8"}, "SignatureDoesNotMatch"),
    ({"HTTP_X_AMZ_ACL": "private"}, "SignatureDoesNotMatch"),
    ({"HTTP_X_AMZ_DATE": "20130525T000000Z"}, "SignatureDoesNotMatch"),
    ({"HTTP_AUTHORIZATION": "Basic Og=="}, "AuthorizationHeaderMalformed"),
], ids=str)
def test_amazons_own_example_is_right_and_no_other(change, code):
    class Nothing:
        def read(self, _):
            return b""

    told = signatures.refusal({**EXAMPLE, "wsgi.input": Nothing(), **change}, SECRETS)
    assert told.code == code
    other = signatures.refusal({**EXAMPLE, "wsgi.input": Nothing()}, {"AKIAIOSFODNN7EXAMPLE": "x"})
    assert other.code == "SignatureDoesNotMatch"


def test_a_body_that_was_not_signed_is_refused(s3):
    url = s3.client("s3").generate_presigned_url("put_object", {"Bucket": "lake", "Key": "a"})
    # A signature in the address is none that we make, or check.
    assert requests.put(url, data=b"x", timeout=10).status_code == 200
    s3.faults.append(server.Fault(lambda r: r.method == "PUT", None, flips=True))
    with pytest.raises(Exception, match="XAmzContentSHA256Mismatch"):
        s3.put("lake", "b", "some text")
    assert s3.keys("lake") == ["a"]


# --- what we send ----------------------------------------------------------------------------


@pytest.mark.parametrize("token", [{}, {"AWS_SESSION_TOKEN": "a+token/="}], ids=["key", "session"])
def test_every_request_is_signed_with_its_body(s3, token):
    s3.put("landing", AWKWARD_KEY, "id,part\n1,a b/ü\n")
    s3.put("landing", "o r+d=e&rs/big.csv", "id,part\n" + "".join(f"{i},x\n" for i in range(1000)))
    s3.requests.clear()
    run = lake.ingest(
        "s3://landing/o r+d=e&rs/", table=TABLE, arguments=["--partition-by", "part"],
        env={**s3.environment, **token},
    )
    assert run.exit_code == 0, str(run)
    assert s3.query(TABLE, "SELECT count(*) FROM t").fetchall() == [(1001,)]
    sent = ours(s3)
    assert len(sent) > 15 and {"GET", "HEAD", "PUT"} <= {r.method for r in sent}
    assert all("HTTP_AUTHORIZATION" in r.headers for r in sent)
    assert all(r.headers["HTTP_X_AMZ_CONTENT_SHA256"] != UNSIGNED for r in sent)
    assert all(("HTTP_X_AMZ_SECURITY_TOKEN" in r.headers) == bool(token) for r in sent)
    assert s3.refused == []


@pytest.mark.parametrize("wrong, code", [
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
])
@pytest.mark.parametrize("source", ["s3://landing/a.csv", "s3://landing/", "file"])
def test_wrong_credentials_are_told_and_nothing_is_written(s3, tmp_path, source, wrong, code):
    """Of the source, or where that is on this disk, of the table."""
    s3.put("landing", "a.csv", "id\n1\n")
    (tmp_path / "a.csv").write_text("id\n1\n")
    place = f"{tmp_path}/" if source == "file" else source
    run = lake.run("ingest", place, "--table", TABLE, env={**s3.environment, **wrong})
    assert run.exit_code == 2, str(run)
    told = TABLE if source == "file" else source
    assert told in run.stderr and code in run.stderr, str(run)
    assert "renew the credentials: AWS_ACCESS_KEY_ID" in run.stderr, str(run)
    assert s3.keys("lake") == []
    assert {refusal.code for _, refusal in s3.refused} == {code}


WRITES = {
    "a data file": lambda r: r.path.endswith(".parquet") and "uploadId" not in r.query,
    "a part": lambda r: "partNumber=1" in r.query,
    "the end of an upload": lambda r: r.method == "POST" and "uploadId=" in r.query,
    "a tail of the ledger": lambda r: "/_lakefeed/" in r.path,
    "a commit": lambda r: "/_delta_log/0" in r.path,
}


@pytest.mark.parametrize("write", WRITES)
def test_a_byte_that_flips_on_its_way_is_noticed(s3, write):
    """Nothing but what was sent is ever in the table; the next run takes what this one could not."""
    s3.put("landing", "0.csv", "id,text\n0,x\n")
    assert lake.ingest("s3://landing/0.csv", table=TABLE, env=s3.environment).exit_code == 0
    is_large = write in ("a part", "the end of an upload")
    count = 300_000 if is_large else 3
    s3.put("landing", "a.csv", many_rows(count).replace("\n0,", "\n-1,"))
    chosen = WRITES[write]
    flip = server.Fault(lambda r: r.method in ("PUT", "POST") and chosen(r), None, flips=True)
    s3.faults.append(flip)
    run = lake.ingest("s3://landing/a.csv", table=TABLE, env=s3.environment)
    assert flip.struck == 1, str(run)
    assert [refusal.code for _, refusal in s3.refused] == ["XAmzContentSHA256Mismatch"]
    (receipt,) = run.receipts
    if receipt["status"] == lake.FAILED:
        assert receipt["error"]["kind"] == "storage_unavailable", str(run)
    # The slot of a commit is offered again.
    assert (receipt["status"] == lake.COMMITTED) == (write == "a commit"), str(run)
    again = lake.ingest("s3://landing/a.csv", table=TABLE, env=s3.environment)
    assert again.exit_code == 0, str(again)
    counted = s3.query(TABLE, "SELECT count(*), count(DISTINCT id) FROM t").fetchall()
    assert counted == [(count + 1, count + 1)]
