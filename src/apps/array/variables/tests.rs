use super::*;

#[test]
fn references_are_filled_once_and_those_without_a_value_are_named() {
    let variables = [
        ("A", "1\r\n"),
        ("_b2", "${A}"),
        ("EMPTY", ""),
        ("D", " \"q\"\n"),
        ("S", "'q'"),
        ("B", "''"),
        ("E", " s \n"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = Variables::new(variables);
    for (text, filled, missing) in [
        ("plain", "plain", ""),
        ("${D}${S}", "qq", ""),
        ("${E}", " s ", ""),
        ("${B:-none}", "none", ""),
        ("${A}", "1", ""),
        ("a${A}b${A:-2}c", "a1b1c", ""),
        ("${_b2}", "${A}", ""),
        ("${NONE:-x:-y}${EMPTY:-}", "x:-y", ""),
        ("${NONE}${EMPTY}${NONE}", "", "EMPTY,NONE"),
        ("$A ${} ${1A} ${A", "$A ${} ${1A} ${A", ""),
        ("${ ${A}", "${ 1", ""),
    ] {
        let mut value = serde_json::json!([{ "a": text }]);
        let named = variables.substitute(&mut value).into_iter().collect::<Vec<_>>().join(",");
        assert_eq!((value[0]["a"].as_str().unwrap(), named.as_str()), (filled, missing), "{text}");
    }
    assert!(!format!("{variables:?}").contains('1'));
}

#[test]
fn references_outside_of_quotes_are_values_or_become_strings() {
    let variables =
        [("N", "7"), ("B", "true\n"), ("L", "[\"a\", \"b\"]"), ("S", "text"), ("R", "[\"${N}\"]")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = Variables::new(variables);
    for (text, put) in [
        ("a = ${N}\nb=${B} # ${N}", "a = 7\nb=true # ${N}"),
        ("[${N},${X:-8}]", "[7,8]"),
        ("a = ${L}", "a = [\"a\", \"b\"]"),
        ("a = ${S}", "a = \"${S}\""),
        ("a = ${R}", "a = \"${R}\""),
        ("a = ${X}", "a = \"${X}\""),
        ("a = ${X:-\"d\"}", "a = \"d\""),
        ("a = ${S:-\"d\"}", "a = \"${S:-\\\"d\\\"}\""),
        ("a = \"=${N}\"", "a = \"=${N}\""),
        ("a = \"\\\"=${N}\\\\\" b = ${N}", "a = \"\\\"=${N}\\\\\" b = 7"),
        ("a = '\\' b = ${N}", "a = '\\' b = 7"),
        ("a = \"\"\"\" ${N} \"\"\" b = ${N}", "a = \"\"\"\" ${N} \"\"\" b = 7"),
        ("a = '''' ${N} ''' b = ${N}", "a = '''' ${N} ''' b = 7"),
        ("a = \"${N}", "a = \"${N}"),
        ("é = ${N} ${ $", "é = 7 ${ $"),
    ] {
        assert_eq!(variables.unquoted(text), put, "{text}");
    }
}
