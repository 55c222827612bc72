use super::*;

#[test]
fn a_pointer_names_the_place() {
    let body = r#"{"a":{"b/c":[1,{"d":"x, \" y","e":true}]}}"#;
    for (needle, pointer) in
        [("true", "/a/b~1c/1/e"), ("1,", "/a/b~1c/0"), (r#""x,"#, "/a/b~1c/1/d")]
    {
        assert_eq!(pointer_at(body, body.find(needle).unwrap()), pointer);
    }
    assert_eq!(pointer_at("", 10), "");
    assert_eq!(pointer_at("\"\\", 10), "");
}
