//! The JSON Schema of a config, for editors and other tools.

/// The schema (2020-12), made from the very types that read the config.
pub fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema =
        settings.into_generator().into_root_schema_for::<super::raw::RawConfig>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), "urn:talaia:schema:config:v1".into());
    }
    schema
}
