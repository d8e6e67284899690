use super::*;

#[test]
fn a_region_is_one_of_awss_or_one_that_the_operator_names() {
    assert!(KNOWN.is_sorted());
    let (none, some) = (Regions::default(), " xx-lab-1, eu-west-9,".parse::<Regions>().unwrap());
    for region in KNOWN {
        assert!(none.allow(region) && is_region(region), "{region}");
    }
    for region in ["eu-west-9", "us-east-1a", "internal", "", "US-EAST-1", "us-east-1.evil.test"] {
        assert!(!none.allow(region), "{region}");
    }
    assert!(some.allow("xx-lab-1") && some.allow("eu-west-9") && !some.allow("eu-west-8"));
    let error = "a.b".parse::<Regions>().unwrap_err().to_string();
    assert_eq!(error, "\"a.b\" is no region such as eu-west-1");
}
