//! Which IP addresses are public: pure arithmetic over the registries of special addresses.
//!
//! It knows no names and no settings. The ranges are those of IANA's special-purpose address registries for IPv4 and
//! IPv6 (RFC 6890 and its successors) that are not "globally reachable", and those that carry an IPv4 address inside.
//! Where the registry lists a reachable address within a refused range (192.0.0.9, some of 2001::/23), the whole range
//! is refused: they are services of the network itself, never image hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` can belong to a host on the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// First address and prefix length of each refused IPv4 range.
const REFUSED_V4: [([u8; 4], u32); 15] = [
    // This network (Linux connects 0.0.0.0 to itself), private use, shared (carrier-grade NAT), loopback, link-local
    // with the metadata services of clouds.
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    // Protocol assignments, documentation, 6to4 relays (withdrawn), private use, benchmarks, documentation.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast; reserved, with the broadcast address.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !REFUSED_V4.iter().any(|(first, prefix)| {
        (address.to_bits() ^ Ipv4Addr::from(*first).to_bits()) >> (32 - prefix) == 0
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, ..] = address.segments();
    let within = Ipv4Addr::from_bits(address.to_bits() as u32);
    match (a, b, c, d, e, f) {
        // IPv4-mapped, and NAT64 of RFC 6052: the address that is reached is the IPv4 one.
        (0, 0, 0, 0, 0, 0xFFFF) | (0x64, 0xFF9B, 0, 0, 0, 0) => is_public_v4(within),
        // IETF protocol assignments (Teredo, ORCHID, benchmarks), documentation, 6to4, documentation.
        (0x2001, ..0x0200, ..) | (0x2001, 0x0DB8, ..) | (0x2002, ..) | (0x3FFF, ..0x1000, ..) => {
            false
        }
        // Global unicast. All else is unspecified, loopback, IPv4-compatible, local NAT64, unique local, link-local,
        // site-local, multicast, or not given out.
        _ => a & 0xE000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_refused_from_its_first_to_its_last_address() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
            ("::", "1fff:ffff::"),
            ("2001::", "2001:1ff:ffff::"),
            ("2001:db8::", "2001:db8:ffff::"),
            ("2002::", "2002:ffff::"),
            ("3fff::", "3fff:fff:ffff::"),
            ("4000::", "ffff:ffff::ffff"),
            ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
            ("::8.8.8.8", "::9.9.9.9"),
            ("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254"),
            ("64:ff9b:1::8.8.8.8", "64:ff9b:1:ffff::"),
        ] {
            assert!(!is_public(first.parse().unwrap()), "{first}");
            assert!(!is_public(last.parse().unwrap()), "{last}");
        }
    }

    #[test]
    fn the_neighbours_of_the_ranges_are_public() {
        for address in [
            "1.0.0.0",
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
            "2000::1",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2001:4860:4860::8888",
            "2003::",
            "2600::1",
            "3fff:1000::",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
