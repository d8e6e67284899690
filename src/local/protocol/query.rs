//! The query protocol's requests: flat, numbered parameters, folded into the shape of JSON.

use serde_json::{Map, Value};

/// How numbered parameters of the query protocol are called in JSON, and how they fold.
const LISTS: [(&str, &str, Fold); 13] = [
    ("SendMessageBatchRequestEntry", "Entries", Fold::Items),
    ("DeleteMessageBatchRequestEntry", "Entries", Fold::Items),
    ("ChangeMessageVisibilityBatchRequestEntry", "Entries", Fold::Items),
    ("AttributeName", "AttributeNames", Fold::Items),
    ("MessageAttributeName", "MessageAttributeNames", Fold::Items),
    ("MessageSystemAttributeName", "MessageSystemAttributeNames", Fold::Items),
    ("TagKey", "TagKeys", Fold::Items),
    ("AWSAccountId", "AWSAccountIds", Fold::Items),
    ("ActionName", "Actions", Fold::Items),
    ("Attribute", "Attributes", Fold::Pairs("Name")),
    ("MessageAttribute", "MessageAttributes", Fold::Pairs("Name")),
    ("MessageSystemAttribute", "MessageSystemAttributes", Fold::Pairs("Name")),
    ("Tag", "Tags", Fold::Pairs("Key")),
];

#[derive(Clone, Copy)]
enum Fold {
    /// A list of its items.
    Items,
    /// A map from each item's member of this name to its `Value`.
    Pairs(&'static str),
}

/// The most parts that a name of SQS' has is seven: `SendMessageBatchRequestEntry.1.MessageAttribute.1.
/// Value.StringListValue.1`. One with more is no parameter; folding recurses, a part a level.
const MAX_PARTS: usize = 8;

/// Folds the parameters of a request into one object.
#[must_use]
pub fn fold<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let mut root = Map::new();
    let known = |(name, _): &(&str, &str)| name.split('.').nth(MAX_PARTS).is_none();
    for (name, value) in parameters.filter(known) {
        insert(&mut root, name, value);
    }
    shape(root)
}

fn insert(object: &mut Map<String, Value>, name: &str, value: &str) {
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), Value::from(value));
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn shape(object: Map<String, Value>) -> Value {
    let mut shaped = Map::new();
    for (name, value) in object {
        match (LISTS.iter().find(|(list, ..)| *list == name), value) {
            (Some((_, json, fold)), Value::Object(items)) => {
                shaped.insert((*json).to_owned(), folded(items, *fold));
            }
            (_, Value::Object(inner)) => {
                shaped.insert(name, shape(inner));
            }
            (_, value) => {
                shaped.insert(name, value);
            }
        }
    }
    Value::Object(shaped)
}

fn folded(items: Map<String, Value>, fold: Fold) -> Value {
    let mut numbered: Vec<(u64, Value)> =
        items.into_iter().filter_map(|(number, item)| Some((number.parse().ok()?, item))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    let items = numbered.into_iter().map(|(_, item)| match item {
        Value::Object(item) => shape(item),
        other => other,
    });
    match fold {
        Fold::Items => items.collect(),
        Fold::Pairs(key) => items
            .filter_map(|mut item| {
                let name = item.get(key)?.as_str()?.to_owned();
                Some((name, item.get_mut("Value").map(Value::take).unwrap_or_default()))
            })
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_parameters_fold_into_lists_and_maps() {
        let folded = fold(
            [
                ("Action", "SendMessageBatch"),
                ("SendMessageBatchRequestEntry.2.Id", "b"),
                ("SendMessageBatchRequestEntry.1.Id", "a"),
                ("SendMessageBatchRequestEntry.1.MessageAttribute.1.Name", "n"),
                ("SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue", "v"),
                ("AttributeName.1", "All"),
                ("Attribute.1.Name", "FifoQueue"),
                ("Attribute.1.Value", "true"),
            ]
            .into_iter(),
        );
        assert_eq!(
            folded,
            serde_json::json!({
                "Action": "SendMessageBatch",
                "AttributeNames": ["All"],
                "Attributes": {"FifoQueue": "true"},
                "Entries": [{"Id": "a", "MessageAttributes": {"n": {"StringValue": "v"}}}, {"Id": "b"}],
            })
        );
    }
}
