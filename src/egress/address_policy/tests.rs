use super::*;

fn policy(allowed: &[&str]) -> AddressPolicy {
    AddressPolicy::new(allowed.iter().map(|network| network.parse().unwrap())).unwrap()
}

fn check(policy: &AddressPolicy, address: &str) -> Result<(), Refused> {
    policy.check(address.parse().unwrap())
}

#[test]
fn public_addresses_pass_by_default() {
    let policy = AddressPolicy::default();
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "3ffe::1",
        "2002:101:101::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::808:808",
        "2001:0:808:808:0:0:f7f7:f7f7",
    ] {
        assert_eq!(check(&policy, address), Ok(()), "{address}");
    }
}

/// The first and the last address of everything that is not public, and what is inside of it.
const REFUSED: [&str; 68] = [
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "100.100.100.200",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:0:0:1::8.8.8.8",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1::808:808",
    "64:ff9b:2::808:808",
    "100::1",
    "2001::1",
    "2001:0:7f00:1:0:0:f7f7:f7f7",
    "2001:0:808:808:0:0:80ff:fffe",
    "2001:0:808:808:0:0:5601:5601",
    "2001:1::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:a00:1::1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:a00:1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

#[test]
fn everything_else_is_refused_by_default_whatever_it_is_wrapped_in() {
    let policy = AddressPolicy::default();
    for address in REFUSED.iter().chain(&["fd20:ce::254", "fd00::1", "fdff:ffff::1", "febf::1", "ff0e::1"]) {
        let refused = check(&policy, address).unwrap_err().to_string();
        let canonical = address.parse::<IpAddr>().unwrap().to_string();
        assert!(refused.starts_with(&canonical), "{refused}");
        assert!(refused.contains("WEBHOOKS_ALLOWED_NETWORKS"), "{refused}");
    }
}

#[test]
fn an_allowed_network_lets_its_addresses_pass_in_every_wrapping_and_no_others() {
    let policy = policy(&["127.0.0.0/8", "::1/128", "10.1.0.0/16", "fd00::/8"]);
    for address in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "10.1.255.255",
        "::ffff:10.1.2.3",
        "fd12:3456::1",
        "8.8.8.8",
    ] {
        assert_eq!(check(&policy, address), Ok(()), "{address}");
    }
    for address in ["10.2.0.0", "192.168.0.1", "::ffff:10.2.0.1", "fd00:ec2::254", "0.0.0.0", "::", "fc00::1"]
    {
        assert!(check(&policy, address).is_err(), "{address}");
    }
}

#[test]
fn what_can_never_be_allowed_is_refused_though_everything_is_allowed() {
    let policy = policy(&["0.0.0.0/0", "::/0"]);
    for address in [
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fe80::1",
        "fe80::a9fe:a9fe",
        "ff02::1",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2002:a9fe:a9fe::",
        "2001:0:a9fe:a9fe:0:0:f7f7:f7f7",
        "2001:0:808:808:0:0:5601:5601",
        "2606:4700::5efe:a9fe:a9fe",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
    ] {
        let refused = check(&policy, address).unwrap_err().to_string();
        assert!(refused.ends_with("WEBHOOKS_ALLOWED_NETWORKS cannot allow it"), "{refused}");
    }
    for address in ["127.0.0.1", "10.0.0.1", "240.0.0.1", "::1", "fd00::1", "4000::1", "64:ff9b:1::808:808"] {
        assert_eq!(check(&policy, address), Ok(()), "{address}");
    }
}

#[test]
fn local_use_nat64_needs_its_own_leave_and_that_of_what_is_inside() {
    let local = policy(&["64:ff9b:1::/48"]);
    assert_eq!(check(&local, "64:ff9b:1::808:808"), Ok(()));
    assert_eq!(check(&local, "64:ff9b:1:808:8:800::"), Ok(()));
    for address in ["64:ff9b:1::7f00:1", "64:ff9b:1:a01:2:300::", "64:ff9b:1::a01:203"] {
        assert!(check(&local, address).is_err(), "{address}");
    }
}

#[test]
fn a_network_that_can_never_be_allowed_is_an_error() {
    for network in
        ["169.254.169.254/32", "169.254.0.0/16", "fe80::/64", "::ffff:169.254.0.0/112", "224.0.0.0/8"]
    {
        let error = AddressPolicy::new([network.parse().unwrap()]).unwrap_err();
        assert!(error.contains("can never be allowed"), "{error}");
    }
}

#[test]
fn host_bits_do_not_matter_and_a_mapped_network_is_the_one_it_maps() {
    assert_eq!(check(&policy(&["10.1.2.3/8"]), "10.200.0.1"), Ok(()));
    assert_eq!(check(&policy(&["::ffff:10.0.0.0/104"]), "10.0.0.1"), Ok(()));
}

#[test]
fn a_refusal_names_the_address_the_rule_and_what_to_set() {
    assert_eq!(
        check(&AddressPolicy::default(), "10.1.2.3").unwrap_err().to_string(),
        "10.1.2.3 is private (10.0.0.0/8); add 10.1.2.3/32 or its network to WEBHOOKS_ALLOWED_NETWORKS if webhooks may go there"
    );
    assert_eq!(
        check(&AddressPolicy::default(), "64:ff9b::7f00:1").unwrap_err().to_string(),
        "64:ff9b::7f00:1 stands for 127.0.0.1, which is loopback (127.0.0.0/8); add 127.0.0.1/32 or its network to WEBHOOKS_ALLOWED_NETWORKS if webhooks may go there"
    );
}
