//! What a description holds in memory, about.

use headwater::schema::Field;
use headwater::value::DataType;
use headwater_sql::Description;

/// What an allocation costs besides its bytes, about.
const ALLOCATION_BYTES: usize = 16;

/// What is known of a statement.
pub(super) fn description_bytes(description: &Description) -> usize {
    let parameter = |of: &DataType| size_of::<DataType>() + type_bytes(of);
    description.parameters.iter().map(parameter).sum::<usize>() + fields_bytes(&description.fields)
}

fn fields_bytes(fields: &[Field]) -> usize {
    fields.iter().map(|field| named_bytes(&field.name, &field.data_type)).sum()
}

fn named_bytes(name: &str, data_type: &DataType) -> usize {
    size_of::<Field>() + name.len() + ALLOCATION_BYTES + type_bytes(data_type)
}

/// What a type has elsewhere.
fn type_bytes(of: &DataType) -> usize {
    match of {
        DataType::List(item) => size_of::<DataType>() + ALLOCATION_BYTES + type_bytes(item),
        DataType::Struct(fields) => fields.iter().map(|(name, data_type)| named_bytes(name, data_type)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_costs_its_name_and_its_type() {
        let column = |data_type| Field { name: "n".repeat(100), data_type };
        let of = |fields: Vec<Field>| description_bytes(&Description { fields, ..Description::default() });
        let plain = of(vec![column(DataType::Text)]);
        let listed = of(vec![column(DataType::List(Box::new(DataType::Text)))]);
        assert!(plain > 100 && listed > plain && of(vec![column(DataType::Text); 10]) == 10 * plain);
    }
}
