//! Which addresses a webhook may go to. Pure: it checks one address, and whoever dials asks it about
//! exactly the address that is dialled.
//!
//! Strangers choose the URLs, so only public addresses are dialled, plus the networks that the operator
//! names. Link-local addresses, cloud metadata services, multicast, unspecified and broadcast cannot be
//! allowed by anyone. An IPv6 address that stands for an IPv4 address is checked as that one: where it
//! leads is decided by a gateway, a relay or the kernel, not by its spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses that may be dialled: the public ones, and these networks.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Arc<[IpNet]>,
}

/// An address that may not be dialled, and by which rule. Names the variable and what to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    address: IpAddr,
    /// The address that was checked: the one that `address` stands for, or itself.
    checked: IpAddr,
    rule: Rule,
    never: bool,
}

/// A network and what its addresses are.
type Rule = (IpNet, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(start: [u16; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = start;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix))
}

const fn one(bits: u128) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), 128))
}

/// What no variable can allow. The metadata services are those of AWS, GCP, Azure, Alibaba, Oracle, Scaleway and
/// Akamai (Linode); what others have is link-local.
const NEVER: [Rule; 16] = [
    (v4(0, 0, 0, 0, 32), "the unspecified address"),
    (v4(169, 254, 0, 0, 16), "link-local, where clouds keep their metadata service"),
    (v4(100, 100, 100, 200, 32), "a cloud's metadata service"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (v4(192, 0, 0, 192, 32), "a cloud's metadata service"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v6([0; 4], 128), "the unspecified address"),
    (v6([0xfd00, 0xec2, 0, 0], 32), "a cloud's metadata service"),
    (one(0xfd20_00ce_0000_0000_0000_0000_0000_0254), "a cloud's metadata service"),
    (one(0xfd00_00c1_0000_0000_0000_0000_a9fe_a9fe), "a cloud's metadata service"),
    (one(0xfd00_0042_0000_0000_0000_0000_0000_0042), "a cloud's metadata service"),
    (one(0xfd00_a9fe_a9fe_0000_0000_0000_0000_0001), "a cloud's metadata service"),
    (one(0xfd00_0100_0000_0000_0000_0000_0100_0200), "a cloud's metadata service"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0, 0], 8), "multicast"),
];

/// What is not public, by IANA's registries of special-purpose addresses. Some single addresses in
/// them are reachable (PCP's and TURN's anycast, AMT): no webhook lives there.
const NOT_PUBLIC: [Rule; 23] = [
    (v4(0, 0, 0, 0, 8), "of \"this network\""),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared address space of a carrier or cloud"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "for protocol assignments"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay's"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), "loopback"),
    (v6([0x64, 0xff9b, 1, 0], 48), "local-use NAT64"),
    (v6([0x100, 0, 0, 0], 64), "for discarding"),
    (v6([0x2001, 0, 0, 0], 23), "for protocol assignments"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "for documentation"),
    (v6([0x3fff, 0, 0, 0], 20), "for documentation"),
    (v6([0x5f00, 0, 0, 0], 16), "a segment routing identifier"),
    (v6([0xfc00, 0, 0, 0], 7), "unique local"),
    // Only 2000::/3 has been given out as global unicast: the rest of the space is refused whole.
    (v6([0, 0, 0, 0], 3), "not global unicast"),
    (v6([0x4000, 0, 0, 0], 2), "not global unicast"),
];

/// The upper half of the IPv6 space; [`NOT_PUBLIC`] names its known parts.
const UPPER: Rule = (v6([0x8000, 0, 0, 0], 1), "not global unicast");

impl AddressPolicy {
    /// Public addresses, and those of `allowed`.
    ///
    /// # Errors
    /// The first network that lies wholly within what can never be allowed, in words.
    pub fn new(allowed: impl IntoIterator<Item = IpNet>) -> Result<Self, String> {
        let allowed: Vec<IpNet> = allowed.into_iter().map(|network| unmapped(network.trunc())).collect();
        for network in &allowed {
            if let Some((_, what)) = NEVER.iter().find(|(never, _)| never.contains(network)) {
                return Err(format!("{network} is {what} and can never be allowed"));
            }
        }
        Ok(Self { allowed: allowed.into() })
    }

    /// Whether the whole address space is allowed, but for what never is.
    #[must_use]
    pub fn allows_everything(&self) -> bool {
        self.allowed.iter().any(|network| network.prefix_len() == 0 && network.addr().is_ipv4())
    }

    /// The ones of a name's addresses that may be dialled.
    ///
    /// # Errors
    /// The first refusal, if every address is refused.
    pub fn filter(&self, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let mut refused = None;
        addresses.retain(|address| match self.check(*address) {
            Ok(()) => true,
            Err(error) => {
                refused.get_or_insert(error);
                false
            }
        });
        match refused {
            Some(refused) if addresses.is_empty() => Err(refused),
            Some(_) | None => Ok(addresses),
        }
    }

    /// Says whether this very address may be dialled.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let Inner { addresses, is_all } = Inner::of(address);
        let own = (!is_all).then_some(address);
        for checked in own.into_iter().chain(addresses.into_iter().flatten().map(IpAddr::V4)) {
            let refused = |rule: &Rule, never| Refused { address, checked, rule: *rule, never };
            if let Some(rule) = NEVER.iter().find(|(network, _)| network.contains(&checked)) {
                return Err(refused(rule, true));
            }
            if self.allowed.iter().any(|network| network.contains(&checked)) {
                continue;
            }
            let mut rules = NOT_PUBLIC.iter().chain([&UPPER]);
            if let Some(rule) = rules.find(|(network, _)| network.contains(&checked)) {
                return Err(refused(rule, false));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, checked, rule: (network, what), never } = self;
        if address == checked {
            write!(f, "{address} is {what} ({network})")?;
        } else {
            write!(f, "{address} stands for {checked}, which is {what} ({network})")?;
        }
        if *never {
            return write!(f, "; WEBHOOKS_ALLOWED_NETWORKS cannot allow it");
        }
        let host = IpNet::from(*checked);
        write!(f, "; add {host} or its network to WEBHOOKS_ALLOWED_NETWORKS if webhooks may go there")
    }
}

impl std::error::Error for Refused {}

/// The IPv4 addresses inside an IPv6 address.
struct Inner {
    addresses: [Option<Ipv4Addr>; 4],
    /// Whether they are all that counts: the address itself has no place of its own.
    is_all: bool,
}

impl Inner {
    fn of(address: IpAddr) -> Self {
        let none = Self { addresses: [None; 4], is_all: false };
        let IpAddr::V6(address) = address else { return none };
        let only = |a| Self { addresses: [Some(a), None, None, None], is_all: true };
        let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => none,
            // Mapped, compatible, translated, and the well-known prefix of NAT64.
            [0, 0, 0, 0, 0, 0 | 0xffff, a, b]
            | [0, 0, 0, 0, 0xffff, 0, a, b]
            | [0x64, 0xff9b, 0, 0, 0, 0, a, b]
            // 6to4.
            | [0x2002, a, b, ..] => only(join(a, b)),
            // Teredo: its server, and the client with all bits turned over.
            [0x2001, 0, a, b, _, _, c, d] => {
                Self { addresses: [Some(join(a, b)), Some(join(!c, !d)), None, None], is_all: true }
            }
            // Local-use NAT64 by RFC 8215: of any prefix length from 48.
            [0x64, 0xff9b, 1, ..] => Self { addresses: nat64(address), is_all: false },
            // ISATAP, under any prefix.
            [.., 0 | 0x200, 0x5efe, a, b] => {
                Self { addresses: [Some(join(a, b)), None, None, None], is_all: false }
            }
            _ => none,
        }
    }
}

/// The IPv4 addresses that RFC 6052's layouts for prefixes of 48, 56, 64 and 96 bits find in an
/// address. Which of them the gateway uses cannot be seen from here, so each that fits counts.
fn nat64(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bits = address.to_bits();
    // What is below the 48 bits of the prefix, without the octet at bit 64, which no layout uses.
    let joined = (bits >> 64 & 0xffff) << 56 | bits & ((1 << 56) - 1);
    let ends_before = |rest: u32| u32::try_from(joined >> rest & 0xffff_ffff).ok().map(Ipv4Addr::from_bits);
    let fits = |rest: u32| ends_before(rest).filter(|_| joined & ((1 << rest) - 1) == 0);
    [fits(40), fits(32), fits(24), ends_before(0).filter(|last| !last.is_unspecified())]
}

/// A network of IPv4-mapped addresses as the IPv4 network that it is.
fn unmapped(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(inner) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(inner, prefix)
    {
        return v4.into();
    }
    network
}

#[cfg(test)]
mod tests;
