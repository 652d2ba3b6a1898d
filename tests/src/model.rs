//! The members of requests in AWS's service model, from `tests/cases/modelled-members.json`. `tests/run shapes`
//! compares that file with botocore's model.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A shape of the model: its type and its constraints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Shape {
    /// `string`, `integer`, `long`, `list`, `map` or `structure`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The smallest length, number of entries, or number.
    pub min: Option<i64>,
    /// The largest length, number of entries, or number.
    pub max: Option<i64>,
    /// A regular expression.
    pub pattern: Option<String>,
    /// The values of an enumeration.
    #[serde(rename = "enum")]
    pub values: Option<Vec<String>>,
    /// The shape of the items of a list.
    pub item: Option<Box<Self>>,
    /// The shape of the keys of a map.
    pub key: Option<Box<Self>>,
    /// The shape of the values of a map.
    pub value: Option<Box<Self>>,
    /// The members of a structure, in the model's order.
    #[serde(default)]
    pub members: Vec<Self>,
    /// The name, if this is a member.
    pub name: Option<String>,
    /// Whether it is required, if this is a member.
    #[serde(default)]
    pub required: bool,
}

/// A member of a structure: a shape with a name.
pub type Member = Shape;

/// The members of the request of each operation.
///
/// # Errors
/// The file cannot be read.
pub fn operations() -> Result<BTreeMap<String, Vec<Member>>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/modelled-members.json");
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

impl Shape {
    /// The name of a member.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The smallest valid value: required members only, the fewest entries, the smallest number.
    #[must_use]
    pub fn right(&self) -> Value {
        match self.kind.as_str() {
            "structure" => structure(&self.members),
            "list" => {
                let item = self.item.as_ref().map(|item| item.right());
                vec![item.unwrap_or_default(); usize::from(self.min == Some(1))].into()
            }
            "map" if self.min == Some(1) => json!({"k": "v"}),
            "map" => json!({}),
            "string" => match (&self.values, self.min, &self.pattern) {
                (Some(values), ..) => json!(values[0]),
                (None, Some(12), _) => json!("123456789012"),
                // Names of public namespaces contain a dot.
                (None, _, Some(pattern)) if pattern.contains("\\.)+") => json!("a.b"),
                _ => json!("a"),
            },
            _ => json!(self.min.unwrap_or_default()),
        }
    }
}

/// A structure with the required members only.
#[must_use]
pub fn structure(members: &[Member]) -> Value {
    let required = members.iter().filter(|member| member.required);
    Value::Object(required.map(|member| (member.name().to_owned(), member.right())).collect::<Map<_, _>>())
}
