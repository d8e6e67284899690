use super::*;

#[test]
fn every_part_of_a_filter_has_its_effect_and_all_have_to_pass() {
    let pattern = |text: &str| Pattern::new(text).ok();
    let of = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    for (filter, passes, fails) in [
        (of(&|f| f.channel_name_starts_with = Some("private-".into())), "private-a", "a-private-"),
        (of(&|f| f.channel_prefix = Some("private-".into())), "private-a", "a-private-"),
        (of(&|f| f.channel_name_ends_with = Some("-a".into())), "b-a", "-ab"),
        (of(&|f| f.channel_suffix = Some("-a".into())), "b-a", "-ab"),
        (of(&|f| f.channel_pattern = pattern(r"^orders-\d+$")), "orders-42", "orders-x"),
        (of(&|f| f.channel_pattern = pattern("lobby")), "presence-lobby-1", "presence-hall"),
        (of(&|f| f.channel_namespace = Some("chat".into())), "private-encrypted-chat:1", "chat-1"),
        (of(&|f| f.channel_namespace = Some("chat".into())), "presence-cache-chat:a:b", "orders:chat:1"),
        (of(&|f| f.channel_namespaces = Some(vec!["a".into(), "b".into()])), "private-b:1", "c:1"),
    ] {
        assert!(filter.passes(passes.as_bytes()), "{filter:?} {passes}");
        assert!(!filter.passes(fails.as_bytes()), "{filter:?} {fails}");
        assert!(Filter::default().passes(fails.as_bytes()));
    }
    let both = of(&|f| {
        f.channel_prefix = Some("private-".into());
        f.channel_namespace = Some("orders".into());
    });
    assert!(both.passes(b"private-orders:1"));
    assert!(!both.passes(b"orders:1") && !both.passes(b"private-chat:1") && !both.passes(b"private-:1"));
    assert!(!of(&|f| f.channel_namespaces = Some(Vec::new())).passes(b"a:1"));
    assert!(of(&|f| f.channel_prefix = Some("a".into())).passes(b"a\xed\xa0\x80"), "a lone surrogate");
}

#[test]
fn a_pattern_has_a_bound_of_memory() {
    for good in [
        r"\w+",
        r"^[\p{L}\d_-]+$",
        r"(?i)^(private|presence)-.*$",
        "^[a-z]{1,200}$",
        r"^(?:private-)?\w+\.\w+\.\d+$",
        r"^private-user-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        r"^orders-\w{8}$",
        r"^private-[\w-]{4,40}$",
        r"(\w?){5}b",
    ] {
        assert!(Pattern::new(good).is_ok_and(|pattern| pattern.size() <= MAX_PATTERN_SIZE), "{good}");
    }
    for bad in
        ["(", "[a", r"(?:a{1000}){1000}", r"(\w{100}){100}", r"(\p{L}?){9}b", r"\w{9}\p{L}", &"(".repeat(60)]
    {
        assert!(Pattern::new(bad).is_err(), "{bad}");
    }
    // A group would take room at every place of the pattern.
    let groups = Pattern::new(&"(a?)".repeat(250)).unwrap();
    assert_eq!(groups.size() - 1000, Pattern::new(&"a?".repeat(250)).unwrap().size() - 500);
}

#[test]
fn a_pattern_that_unicode_makes_too_large_means_the_same_to_the_names_of_servers() {
    for (pattern, passes, fails) in [
        (r"^orders-\w{8}$", "orders-ab_cd123", "orders-ab-cd123"),
        (r"^orders-\w{8}$", "orders-ABCD1234", "orders-abcd123é"),
        (r"^private-[\w-]{4,40}$", "private-a-b_", "private-a.b_"),
        (r"(?i)^orders-\w{8}\b", "ORDERS-abcd1234.x", "orders-abcd12345"),
        (r"^[^\W\d]{8}#", "abcdefgh#1", "abcdefg1#1"),
        (r"^é|\w{8}", "abcd1234", "éabcd1234"),
    ] {
        let filter = Filter { channel_pattern: Pattern::new(pattern).ok(), ..Filter::default() };
        assert!(filter.channel_pattern.as_ref().is_some_and(|pattern| pattern.ascii), "{pattern}");
        assert!(filter.passes(passes.as_bytes()), "{pattern} {passes}");
        assert!(!filter.passes(fails.as_bytes()), "{pattern} {fails}");
    }
    let small = Filter { channel_pattern: Pattern::new(r"^\w$").ok(), ..Filter::default() };
    assert!(small.passes("é".as_bytes()), "as sockudo's own crate has it");
}

#[test]
fn a_pattern_whose_classes_take_long_to_compile_is_refused_before() {
    let million = "[!-\u{e0000}]";
    for bad in [
        format!("(?i){}", million.repeat(120)),
        format!("(?i:{})", r"[\W]".repeat(3)),
        format!("(?i){}", r"\PL".repeat(3)),
        format!("(?i){}!-\u{e0000}{}", "[a".repeat(20), "]".repeat(20)),
        format!("(?i){}[^a]{}", "[a".repeat(20), "]".repeat(20)),
        format!("(?i)[{}a]", r"\W&&".repeat(20)),
        format!("[{}]", r"\w".repeat(1000)),
    ] {
        assert!(Pattern::new(&bad).is_err_and(|why| why.contains("too long")), "{bad}");
    }
    for good in [
        million.repeat(20),
        r"(?i)^[^\W_]+$".to_owned(),
        r"(?i)^[\s\S]*$".to_owned(),
        r"(?i)^[\p{L}\p{N}_-]+$".to_owned(),
        r"(?i)^[^a-z]+\W+[^[:digit:]]$".to_owned(),
    ] {
        assert!(Pattern::new(&good).is_ok(), "{good}");
    }
}

#[test]
fn a_pattern_does_not_let_a_channel_pass_that_is_longer_than_any_server_allows() {
    let filter = Filter { channel_pattern: Pattern::new("(a?){600}").ok(), ..Filter::default() };
    assert!(filter.passes(&[b'a'; MAX_MATCHED_BYTES]));
    assert!(!filter.passes(&[b'a'; MAX_MATCHED_BYTES + 1]));
    assert!(filter.cost(MAX_MATCHED_BYTES) > 1_000_000, "milliseconds");
    assert_eq!(filter.cost(MAX_MATCHED_BYTES + 1), EVENT_COST, "it is not matched");
}
