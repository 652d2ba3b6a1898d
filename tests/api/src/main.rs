//! Lists the public items in each file of rustdoc's JSON: `sd-public-items FILE...`. The list of a file ends with an empty line.
//!
//! Left out are blanket and auto trait implementations; the functions of other trait implementations, because the trait
//! declares them; and the compiler's own marker `StructuralPartialEq`.

use std::{collections::HashSet, env, error::Error};

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    for file in env::args_os().skip(1) {
        let api =
            Builder::from_rustdoc_json(file).omit_blanket_impls(true).omit_auto_trait_impls(true).build()?;
        let items: Vec<_> = api.items().map(|item| (item, item.to_string())).collect();
        let implementations =
            items.iter().filter(|(_, text)| text.starts_with("impl") && text.contains(" for "));
        let implementations: HashSet<_> = implementations.map(|(item, _)| item.id()).collect();
        for (item, text) in &items {
            let is_declared =
                item.parent_id().is_some_and(|id| implementations.contains(&id)) && text.contains(" fn ");
            if !is_declared && !text.contains("StructuralPartialEq") {
                println!("{text}");
            }
        }
        println!();
    }
    Ok(())
}
