package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ParseAllowedNet reads an entry of AllowCIDRs: "10.0.0.0/8" for every port,
// "10.0.0.0/8:8080" for one; with IPv6 "fd00::/8" and "[fd00::/8]:8080". A
// single address stands for the range that holds only it.
func ParseAllowedNet(text string) (AllowedNet, error) {
	const want = `write a range such as "10.0.0.0/8", or with one port "10.0.0.0/8:8080" or "[fd00::/8]:8080"`
	host, portText, hasPort := text, "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if host, portText, hasPort = strings.Cut(inner, "]:"); !hasPort {
			host, ok = strings.CutSuffix(inner, "]")
			if !ok {
				return AllowedNet{}, errors.New(want)
			}
		}
	} else if strings.Count(text, ":") == 1 {
		host, portText, hasPort = strings.Cut(text, ":")
	}
	var allowed AllowedNet
	if hasPort {
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return AllowedNet{}, errors.New("its port must be a number from 1 to 65535")
		}
		allowed.Port = uint16(port)
	}
	prefix, err := parsePrefix(host)
	if err != nil {
		return AllowedNet{}, errors.New(want)
	}
	if prefix.Masked() != prefix {
		return AllowedNet{}, fmt.Errorf("it has bits set outside its mask: write %s", prefix.Masked())
	}
	allowed.Prefix = prefix
	return allowed, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err == nil && prefix.Addr().Is4In6() {
		err = errors.New("an IPv4 range must be written as such")
	}
	return prefix, err
}

// ParseMetadataAddr reads an entry of AllowMetadata, a single address. One at
// which no cloud is known to serve metadata is an error: AllowCIDRs opens it.
func ParseMetadataAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil || addr.Zone() != "" || addr.Is4In6():
		return netip.Addr{}, errors.New("must be a single address, such as 169.254.169.254")
	case metadataService(addr) == "":
		return netip.Addr{}, errors.New("no cloud is known to serve metadata there: egress.allow_cidrs alone opens it")
	}
	return addr, nil
}

// ParseProxy reads the URL of an HTTP proxy that makes the connections to
// endpoints: http://host:port, or https:// to speak TLS with the proxy itself.
// The errors never repeat the URL.
func ParseProxy(text string) (*url.URL, error) {
	const want = "write http://host:port, or https://host:port if the proxy itself speaks TLS"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("is not the URL of an HTTP proxy: " + want)
	case u.User != nil:
		return nil, errors.New("must not contain a user or password: set egress.proxy.username and egress.proxy.password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return nil, errors.New("has something behind the host and port: " + want)
	}
	if _, err := portOf(u); err != nil {
		return nil, err
	}
	if err := readHost(u, text); err != nil {
		return nil, err
	}
	u.Path = ""
	return u, nil
}

// CheckProxyUser says what is wrong with a username or a password for a proxy,
// without any of its text.
func CheckProxyUser(text string) error {
	const most = 255
	switch {
	case len(text) > most:
		return fmt.Errorf("is longer than %d bytes", most)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("contains a control character, such as a line break")
	}
	return nil
}
