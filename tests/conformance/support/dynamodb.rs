//! DynamoDB, as moto has it and as DynamoDB Local has it, which is Amazon's own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use lakefeed::config::{AwsAccess, AwsVariables, DynamoDbOptions};
use lakefeed::store::Stores;

use super::{Missing, Opened, s3};

/// The release of `com.amazonaws:DynamoDBLocal`.
const LOCAL_VERSION: &str = "2.6.1";

/// A server that ends with its standard input, which ends with this program.
struct Server {
    endpoint: String,
    _process: Child,
}

static LOCAL: OnceLock<Option<Server>> = OnceLock::new();

/// moto's, which takes one request at a time.
pub fn moto() -> Opened<Arc<Stores>> {
    Ok(stores(s3::access()?))
}

/// DynamoDB Local, which takes many at once.
pub fn local() -> Opened<Arc<Stores>> {
    let server = LOCAL.get_or_init(start_local).as_ref().ok_or(Missing {
        backend: "DynamoDB Local",
        remedy: "install a JDK (17 or newer) and Maven, which fetches it from Maven Central",
    })?;
    let dynamodb = DynamoDbOptions {
        endpoint: Some(server.endpoint.clone()),
        allow_http: Some(true),
        region: Some("eu-central-1".to_owned()),
        ..DynamoDbOptions::default()
    };
    let variables = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let variables = AwsVariables::from_iter(variables);
    Ok(stores(AwsAccess { dynamodb, variables, ..AwsAccess::default() }))
}

fn stores(access: AwsAccess) -> Arc<Stores> {
    Arc::new(Stores::new(PathBuf::from("/")).with_aws(access))
}

/// Makes a table whose items have one key, a string.
pub async fn create_table(stores: &Stores, table: &str, key: &str) {
    let attribute = AttributeDefinition::builder()
        .attribute_name(key)
        .attribute_type(ScalarAttributeType::S)
        .build();
    let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build();
    let dynamodb = stores.dynamodb().unwrap();
    let create = dynamodb
        .client()
        .create_table()
        .table_name(table)
        .attribute_definitions(attribute.unwrap())
        .key_schema(schema.unwrap())
        .billing_mode(BillingMode::PayPerRequest);
    create.send().await.unwrap();
}

fn start_local() -> Option<Server> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dynamodb");
    let libraries = libraries(&sources)?;
    let mut process = Command::new("java")
        .arg(format!("-Djava.library.path={}", libraries.display()))
        .arg("-cp")
        .arg(libraries.join("*"))
        .arg(sources.join("Local.java"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut endpoint = String::new();
    BufReader::new(process.stdout.take()?).read_line(&mut endpoint).ok()?;
    let endpoint = Some(endpoint.trim().to_owned()).filter(|endpoint| !endpoint.is_empty())?;
    Some(Server { endpoint, _process: process })
}

/// Its libraries, fetched once and kept where large test inputs are.
fn libraries(sources: &Path) -> Option<PathBuf> {
    #[allow(clippy::disallowed_methods)] // Where they are kept, only the environment says.
    let kept = env::var_os("LAKEFEED_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&kept).ok()?;
    let libraries = kept.join(format!("dynamodb-local-{LOCAL_VERSION}"));
    if !libraries.is_dir() {
        // Named when it is whole, so that another run finds all of it or nothing.
        let fetched = tempfile::tempdir_in(&kept).ok()?;
        let fetch = Command::new("mvn")
            .args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--file"])
            .arg(sources.join("pom.xml"))
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
            .arg(format!("-Ddynamodb-local.version={LOCAL_VERSION}"))
            .arg(format!("-DoutputDirectory={}", fetched.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .ok()?;
        if !fetch.success() {
            return None;
        }
        // Another run may have been first: its libraries do as well.
        let _ = fs::rename(fetched.keep(), &libraries);
    }
    Some(libraries)
}
