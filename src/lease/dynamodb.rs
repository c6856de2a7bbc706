//! A lease in DynamoDB: one item for each table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::Lease;
use super::swap::{Slot, Swap, SwapLease};
use crate::clock::Clock;
use crate::dynamodb::might_have_happened;
use crate::error::Result;
use crate::store::Stores;

/// The partition key: the address of the table whose lease it is; a string.
const KEY: &str = "table_uri";
/// The attribute by which DynamoDB deletes the item, where it was told to: seconds since 1970.
const TTL: &str = "ttl";
/// How long after its expiry a record stays, so that people can still see who was there.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The lease's duration, for people: it is what is between its renewal and its expiry.
const DURATION: &str = "duration_seconds";

/// The one field that a record may lack.
const ENDED_AT: &str = "ended_at";

/// A record as DynamoDB has it.
type Attributes = HashMap<String, AttributeValue>;

/// A lease whose record is one item.
pub type DynamoDbLease = SwapLease<Item>;

/// The item of one lease.
pub struct Item {
    uri: String,
    stores: Arc<Stores>,
    lease_table: String,
    table_uri: String,
}

impl DynamoDbLease {
    /// The lease of the table at `table_uri`, whose record is in the DynamoDB table `lease_table`.
    /// Nothing is asked of it yet, and its client is made with the first question.
    pub fn new(
        stores: Arc<Stores>,
        lease_table: String,
        table_uri: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let uri = format!("dynamodb://{lease_table}/{table_uri}");
        Self::in_slot(Item { uri, stores, lease_table, table_uri }, clock)
    }
}

#[async_trait]
impl Slot for Item {
    /// Every attribute that was there; nothing, where there was no item.
    type Version = Option<Attributes>;

    fn uri(&self) -> &str {
        &self.uri
    }

    async fn read(&self) -> Result<(Option<Lease>, Option<Attributes>)> {
        let dynamodb = self.stores.dynamodb()?;
        let answer = dynamodb
            .client()
            .get_item()
            .table_name(&self.lease_table)
            .key(KEY, AttributeValue::S(self.table_uri.clone()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamodb.error(&self.lease_table, "GetItem", error))?;
        let lease = answer.item.as_ref().and_then(lease_of);
        Ok((lease, answer.item))
    }

    async fn swap(&self, version: Option<Attributes>, next: &Lease) -> Result<Swap> {
        let dynamodb = self.stores.dynamodb()?;
        let item = item_of(&self.table_uri, next);
        let Condition { expression, names, values } = Condition::unchanged(version.as_ref(), &item);
        let put = dynamodb
            .client()
            .put_item()
            .table_name(&self.lease_table)
            .set_item(Some(item))
            .condition_expression(expression)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values);
        match put.send().await {
            Ok(_) => Ok(Swap::Done),
            Err(error) if is_refusal(&error) => Ok(Swap::Refused),
            Err(error) => {
                let might_be_done = might_have_happened(&error);
                let error = dynamodb.error(&self.lease_table, "PutItem", error);
                if might_be_done { Ok(Swap::Unknown(error)) } else { Err(error) }
            }
        }
    }
}

fn is_refusal(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}

/// The fields of the record, as attributes of the same names: texts and numbers.
fn item_of(table_uri: &str, lease: &Lease) -> Attributes {
    let record = serde_json::to_value(lease).unwrap_or_default();
    let fields = record.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let attribute = match value {
            Value::String(text) => AttributeValue::S(text.clone()),
            Value::Number(number) => AttributeValue::N(number.to_string()),
            _ => return None,
        };
        Some((name.clone(), attribute))
    });
    let ttl = (lease.expires_at + KEPT_AFTER_EXPIRY).timestamp();
    let ours = [
        (KEY, AttributeValue::S(table_uri.to_owned())),
        (DURATION, AttributeValue::N(lease.duration().as_secs().to_string())),
        (TTL, AttributeValue::N(ttl.to_string())),
    ];
    fields.chain(ours.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The record in an item. What cannot be understood is nobody's.
fn lease_of(item: &Attributes) -> Option<Lease> {
    let fields = item.iter().filter_map(|(name, attribute)| {
        let value = match attribute {
            AttributeValue::S(text) => Value::String(text.clone()),
            AttributeValue::N(number) => Value::Number(number.parse().ok()?),
            _ => return None,
        };
        Some((name.clone(), value))
    });
    serde_json::from_value(Value::Object(fields.collect())).ok()
}

/// What must hold for an item to be replaced.
struct Condition {
    expression: String,
    names: HashMap<String, String>,
    values: Option<Attributes>,
}

impl Condition {
    /// That the item is still `seen`: each of its attributes the same, and none that it had not, of
    /// those that a record has or `next` would add.
    fn unchanged(seen: Option<&Attributes>, next: &Attributes) -> Self {
        let nothing = Attributes::new();
        let seen = seen.unwrap_or(&nothing);
        let attributes: BTreeSet<&str> =
            seen.keys().chain(next.keys()).map(String::as_str).chain([ENDED_AT]).collect();
        let (mut terms, mut names, mut values) = (Vec::new(), HashMap::new(), Attributes::new());
        for (number, attribute) in attributes.into_iter().enumerate() {
            names.insert(format!("#{number}"), attribute.to_owned());
            terms.push(match seen.get(attribute) {
                Some(value) => {
                    values.insert(format!(":{number}"), value.clone());
                    format!("#{number} = :{number}")
                }
                None => format!("attribute_not_exists(#{number})"),
            });
        }
        let values = Some(values).filter(|values| !values.is_empty());
        Self { expression: terms.join(" AND "), names, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Claim;

    fn lease() -> Lease {
        let duration = Duration::from_secs(90);
        let claim = Claim { owner: "a:1".into(), purpose: "a test".into(), duration };
        let now = "2026-08-01T06:30:00.123456789Z".parse().unwrap();
        Lease::next(&claim, None, now)
    }

    #[test]
    fn an_item_is_plain_to_people_and_comes_back() {
        let held = lease();
        let item = item_of("s3://lake/orders", &held);
        let text = |name: &str| item[name].as_s().unwrap().as_str();
        let number = |name: &str| item[name].as_n().unwrap().as_str();
        assert_eq!((text("table_uri"), text("owner")), ("s3://lake/orders", "a:1"));
        assert_eq!(text("expires_at"), "2026-08-01T06:31:30.123456789Z");
        assert_eq!((number("epoch"), number("duration_seconds")), ("1", "90"));
        let ttl: i64 = number("ttl").parse().unwrap();
        assert_eq!(ttl, held.expires_at.timestamp() + 30 * 86_400);
        assert!(!item.contains_key("ended_at"));
        assert_eq!(lease_of(&item), Some(held.clone()));
        let ended = held.ended(held.renewed_at);
        assert_eq!(lease_of(&item_of("x", &ended)), Some(ended));
        assert_eq!(lease_of(&Attributes::new()), None);
    }

    #[test]
    fn a_condition_sees_every_change() {
        let next = item_of("t", &lease());
        let nothing = Condition::unchanged(None, &next);
        assert_eq!(nothing.values, None);
        assert_eq!(nothing.names.len(), next.len() + 1);
        let seen = Attributes::from([(KEY.to_owned(), AttributeValue::S("t".into()))]);
        let damaged = Condition::unchanged(Some(&seen), &next);
        assert_eq!(damaged.expression.matches(" = ").count(), 1);
        assert_eq!(damaged.expression.matches("attribute_not_exists").count(), next.len());
        let held = Condition::unchanged(Some(&next), &next);
        assert_eq!(held.expression.matches(" = ").count(), next.len());
        assert!(held.names.values().any(|name| name == ENDED_AT), "a break is seen");
    }
}
