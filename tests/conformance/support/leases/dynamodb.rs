//! Leases in DynamoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use lakefeed::lease::{DynamoDbLease, LeaseStore};
use lakefeed::store::Stores;

use super::{Capabilities, Damage, Leases};
use crate::support::{Opened, dynamodb};

const KEY: &str = "table_uri";
const TABLE_URI: &str = "s3://lake/orders";

/// An item in moto's DynamoDB.
pub fn dynamodb_moto() -> Opened<Leases> {
    Ok(in_table_of_its_own(dynamodb::moto()?))
}

/// An item in DynamoDB Local.
pub fn dynamodb_local() -> Opened<Leases> {
    Ok(in_table_of_its_own(dynamodb::local()?))
}

fn in_table_of_its_own(stores: Arc<Stores>) -> Leases {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let table = format!("leases-{}", OPENED.fetch_add(1, Ordering::SeqCst));
    tokio::task::block_in_place(|| {
        let create = dynamodb::create_table(&stores, &table, KEY);
        tokio::runtime::Handle::current().block_on(create);
    });
    let damage = damage(Arc::clone(&stores), table.clone());
    let contender = move |clock| -> Arc<dyn LeaseStore> {
        let (stores, table) = (Arc::clone(&stores), table.clone());
        Arc::new(DynamoDbLease::new(stores, table, TABLE_URI.to_owned(), clock))
    };
    Leases {
        contender: Box::new(contender),
        clock: Arc::default(),
        can: Capabilities { ends_with_its_holder: false },
        damage,
        _scratch: None,
    }
}

fn damage(stores: Arc<Stores>, table: String) -> Box<Damage> {
    Box::new(move || {
        let (stores, table) = (Arc::clone(&stores), table.clone());
        Box::pin(async move {
            let put = stores.dynamodb().unwrap().client().put_item().table_name(table);
            let put = put.item(KEY, AttributeValue::S(TABLE_URI.to_owned()));
            put.item("owner", AttributeValue::N("3".to_owned())).send().await.unwrap();
        })
    })
}
