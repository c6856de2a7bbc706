//! What S3 answers that the client would not understand, put so that it does.
//!
//! The client fails a whole page of a listing at the first key that none of its paths stands for
//! (`a//b.csv`), and cannot tell a bucket that is missing, or is elsewhere, from other failures, nor
//! credentials that are wrong from rights that are missing.
//! Between it and the network, such keys are given an alias, and such failures a type. So is the
//! lack of credentials, which the client meets as a failure to reach a machine that is not there.

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderMap};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use quick_xml::escape::unescape;

use super::{Misdirected, exact_path};

/// Where a machine of Amazon's tells its role, which the client asks for as a last resort.
const METADATA_HOST: &str = "169.254.169.254";
/// What an alias begins with: a character for private use, so that a key that begins with it, if
/// there ever is one, can be given an alias too.
const ALIAS_MARK: char = '\u{F8FF}';
/// How S3 says that it does not know us, or not any more. A request that was too long on its way
/// (`RequestTimeTooSkewed`) is none of these: the next is signed anew.
const NOT_AUTHENTIC: [&str; 4] =
    ["SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken"];
/// The client's region where nobody names one.
const DEFAULT_REGION: &str = "us-east-1";

/// Makes clients that understand.
#[derive(Debug)]
pub(super) struct Connector {
    region: Option<String>,
}

impl Connector {
    /// For buckets in `region`; the client has a default.
    pub fn new(region: Option<String>) -> Self {
        Self { region }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let network = ReqwestConnector {}.connect(options)?;
        Ok(HttpClient::new(Interpreter { network, region: self.region.clone() }))
    }
}

#[derive(Debug)]
struct Interpreter {
    network: HttpClient,
    region: Option<String>,
}

#[async_trait]
impl HttpService for Interpreter {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_for_role = request.uri().host() == Some(METADATA_HOST);
        let is_listing = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
        let answer = self.network.execute(request).await;
        if is_for_role && has_no_role(&answer) {
            return Err(HttpError::new(HttpErrorKind::Unknown, Misdirected::NoCredentials));
        }
        let (parts, body) = answer?.into_parts();
        if !parts.status.is_success()
            && let Some(misdirected) = self.elsewhere(&parts.headers)
        {
            return Err(HttpError::new(HttpErrorKind::Unknown, misdirected));
        }
        let is_missing = parts.status.as_u16() == 404;
        let is_refused = matches!(parts.status.as_u16(), 400 | 403);
        let is_page = is_listing && parts.status.is_success();
        if !is_missing && !is_refused && !is_page {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let text = body.bytes().await?;
        let Ok(xml) = std::str::from_utf8(&text) else {
            return Ok(HttpResponse::from_parts(parts, text.into()));
        };
        if is_missing && element(xml, "Code") == Some("NoSuchBucket") {
            return Err(HttpError::new(HttpErrorKind::Unknown, Misdirected::NoBucket));
        }
        if is_refused
            && let Some(code) = element(xml, "Code")
            && let Some(known) = NOT_AUTHENTIC.into_iter().find(|known| *known == code)
        {
            return Err(HttpError::new(
                HttpErrorKind::Unknown,
                Misdirected::WrongCredentials(known),
            ));
        }
        let body = match with_aliases(xml) {
            Some(xml) if is_page => xml.into(),
            _ => text.into(),
        };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

impl Interpreter {
    /// Whether an answer says that the bucket is in another region, as every refusal for that does.
    fn elsewhere(&self, headers: &HeaderMap) -> Option<Misdirected> {
        let region = headers.get("x-amz-bucket-region")?.to_str().ok()?;
        let ours = self.region.as_deref().unwrap_or(DEFAULT_REGION);
        (region != ours).then(|| Misdirected::OtherRegion(region.to_owned()))
    }
}

/// Whether the machine says that it has no role, or is none that could have one.
fn has_no_role(answer: &Result<HttpResponse, HttpError>) -> bool {
    match answer {
        Ok(response) => response.status().is_client_error(),
        Err(error) => matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout),
    }
}

/// The content of the first element of this name, which has no elements in it.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// The page of a listing with an alias for each key that is no path; nothing where every key is.
fn with_aliases(xml: &str) -> Option<String> {
    let mut page = String::new();
    let mut copied = 0;
    for (open, _) in xml.match_indices("<Key>") {
        let begin = open + "<Key>".len();
        let end = begin + xml[begin..].find("</Key>")?;
        // The client meets the same key, and says what is wrong with it.
        let Ok(key) = unescape(&xml[begin..end]) else { continue };
        if exact_path(&key).is_ok() && !key.starts_with(ALIAS_MARK) {
            continue;
        }
        page.push_str(&xml[copied..begin]);
        page.push(ALIAS_MARK);
        page.extend(utf8_percent_encode(&key, NON_ALPHANUMERIC));
        copied = end;
    }
    if copied == 0 {
        return None;
    }
    page.push_str(&xml[copied..]);
    Some(page)
}

/// The key that a listing gave this alias; nothing for a name that is no alias.
pub(super) fn key_of_alias(name: &str) -> Option<String> {
    let encoded = name.strip_prefix(ALIAS_MARK)?;
    percent_decode_str(encoded).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    use object_store::aws::AmazonS3Builder;
    use object_store::path::Path;

    use super::*;
    use crate::error::ErrorKind;
    use crate::source::discover;
    use crate::store::Stores;

    /// A server that gives one answer to whatever it is asked.
    #[derive(Debug, Clone)]
    struct Canned {
        status: u16,
        region: Option<&'static str>,
        body: String,
    }

    #[async_trait]
    impl HttpService for Canned {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            let mut response = HttpResponse::new(self.body.clone().into());
            *response.status_mut() = self.status.try_into().unwrap();
            if let Some(region) = self.region {
                response.headers_mut().insert("x-amz-bucket-region", region.parse().unwrap());
            }
            Ok(response)
        }
    }

    #[derive(Debug)]
    struct ToCanned(Canned);

    impl HttpConnector for ToCanned {
        fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
            let network = HttpClient::new(self.0.clone());
            Ok(HttpClient::new(Interpreter { network, region: None }))
        }
    }

    fn stores(canned: Canned) -> Stores {
        stores_as(canned, true)
    }

    fn stores_as(canned: Canned, is_anonymous: bool) -> Stores {
        let s3 = AmazonS3Builder::new()
            .with_bucket_name("b")
            .with_skip_signature(is_anonymous)
            .with_http_connector(ToCanned(canned))
            .build()
            .unwrap();
        let stores = Stores::new("/here".into());
        stores.overlay("s3", std::sync::Arc::new(s3));
        stores
    }

    fn page(keys: &[&str]) -> String {
        let object = |key: &&str| {
            let key = quick_xml::escape::escape(*key);
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-08-01T06:30:00.000Z</LastModified>\
                 <ETag>&quot;abc&quot;</ETag><Size>{}</Size></Contents>",
                if key.ends_with('/') { 0 } else { 7 }
            )
        };
        let objects: String = keys.iter().map(object).collect();
        format!("<ListBucketResult><Name>b</Name>{objects}</ListBucketResult>")
    }

    #[tokio::test]
    async fn a_listing_goes_on_after_a_key_that_is_no_path() {
        let keys =
            ["a//b.csv", "/a/c.csv", "a/../d.csv", "a/&<e>.csv", "a/f\n.csv", "a/", "\u{F8FF}a"];
        let body = page(&keys);
        let stores = stores(Canned { status: 200, region: None, body });
        let found: Vec<_> =
            discover(&stores, &["s3://b/**".to_owned()]).try_collect().await.unwrap();
        let mut told: Vec<(String, bool)> = found
            .into_iter()
            .map(|found| (found.location.uri, found.unaddressable.is_none()))
            .collect();
        told.sort();
        let expected = [
            ("s3://b//a/c.csv", false),
            ("s3://b/a/&<e>.csv", true),
            ("s3://b/a/../d.csv", false),
            ("s3://b/a/f\n.csv", false),
            ("s3://b/a//b.csv", false),
            ("s3://b/\u{F8FF}a", true),
        ];
        let mut expected = expected.map(|(uri, is_fine)| (uri.to_owned(), is_fine));
        expected.sort();
        assert_eq!(told, expected);
    }

    async fn listing_error(canned: Canned) -> crate::error::Error {
        discover(&stores(canned), &["s3://b/".to_owned()])
            .try_collect::<Vec<_>>()
            .await
            .unwrap_err()
    }

    #[tokio::test]
    async fn a_wrong_address_is_told_from_a_failure() {
        let body = |code: &str| format!("<Error><Code>{code}</Code><Message>x</Message></Error>");
        let missing = Canned { status: 404, region: None, body: body("NoSuchBucket") };
        let error = listing_error(missing.clone()).await;
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Configuration, "there is no such bucket")
        );

        let moved = Canned { status: 301, region: Some("eu-west-1"), body: String::new() };
        let error = listing_error(moved).await;
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.advice().unwrap().contains("eu-west-1"), "{error}");

        let denied = Canned { status: 403, region: None, body: body("AccessDenied") };
        assert_eq!(listing_error(denied).await.kind(), ErrorKind::SourceUnavailable);

        for (status, code) in [(403, "SignatureDoesNotMatch"), (400, "ExpiredToken")] {
            let forged = Canned { status, region: None, body: body(code) };
            let error = listing_error(forged).await;
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.message().contains(code), "{error}");
            assert!(error.advice().unwrap().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
        }
        let late = Canned { status: 403, region: None, body: body("RequestTimeTooSkewed") };
        assert_eq!(listing_error(late).await.kind(), ErrorKind::SourceUnavailable);

        let nobody = Canned { status: 404, region: None, body: String::new() };
        let anywhere = ["s3://b/".to_owned()];
        let nobodys = stores_as(nobody, false);
        let error = discover(&nobodys, &anywhere).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.advice().unwrap().contains("AWS_ACCESS_KEY_ID"), "{error}");

        let absent = Canned { status: 404, region: None, body: body("NoSuchKey") };
        let store = stores(absent).resolve("s3://b/x").unwrap().store;
        let error = store.get_opts(&Path::from("x"), Default::default()).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
        let store = stores(missing).resolve("s3://b/x").unwrap().store;
        let error = store.list(None).try_next().await.unwrap_err();
        assert!(crate::store::refused(&error), "{error}");
    }
}
