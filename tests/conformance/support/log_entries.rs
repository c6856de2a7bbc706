//! The entries of commits in DynamoDB, as another writer puts them.

#[cfg(feature = "aws")]
mod with_aws {
    use std::path::PathBuf;
    use std::sync::Arc;

    use aws_sdk_dynamodb::types::AttributeValue;
    use lakefeed::config::AwsAccess;
    use lakefeed::dynamodb::DynamoDb;
    use lakefeed::store::Stores;

    /// Those of one table.
    pub struct Entries {
        dynamodb: Arc<DynamoDb>,
        table_path: String,
    }

    impl Entries {
        pub fn new(aws: &AwsAccess, table_path: String) -> Self {
            let stores = Stores::new(PathBuf::from("/")).with_aws(aws.clone());
            Self { dynamodb: stores.dynamodb().unwrap(), table_path }
        }

        /// Puts the entry of a version whose writer will be done at once.
        pub async fn put(&self, version: u64) {
            let text = |value: &str| AttributeValue::S(value.to_owned());
            let name = format!("{version:020}.json");
            let put = self.dynamodb.client().put_item().table_name("delta_log");
            put.item("tablePath", text(&self.table_path))
                .item("fileName", text(&name))
                .item("tempPath", text(&format!(".tmp/{name}.another")))
                .item("complete", text("true"))
                .item("expireTime", AttributeValue::N(i64::MAX.to_string()))
                .send()
                .await
                .unwrap();
        }
    }
}

#[cfg(feature = "aws")]
pub use with_aws::Entries;

/// There are none.
#[cfg(not(feature = "aws"))]
pub enum Entries {}

#[cfg(not(feature = "aws"))]
impl Entries {
    pub async fn put(&self, _: u64) {
        match *self {}
    }
}
