"""What a UDP port's usual service answers, and what an open TCP port is asked, so that it says something of its own."""

from __future__ import annotations

# port -> request; the token goes in further copies of its own
UDP = {
    53: bytes.fromhex("5e6701000001000000000000") + b"\x07version\x04bind\x00" + bytes.fromhex("00100003"),
    69: b"\x00\x01segwatch\x00octet\x00",
    123: b"\x23" + bytes(47),
    137: bytes.fromhex("5e670000000100000000000020") + b"CK" + b"A" * 30 + bytes.fromhex("0000210001"),
    161: bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b060102010101000500"),
    500: bytes.fromhex("5e675e675e675e67" + "00" * 8 + "0110020000000000" + "0000001c"),
    1900: b'M-SEARCH * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nMAN:"ssdp:discover"\r\nMX:1\r\nST:ssdp:all\r\n\r\n',
    5353: bytes.fromhex("000000000001000000000000") + b"\x09_services\x07_dns-sd\x04_udp\x05local\x00" + bytes.fromhex("000c0001"),
    11211: bytes.fromhex("0000000000010000") + b"version\r\n",
}
HTTP = b"GET / HTTP/1.0\r\nUser-Agent: segwatch\r\nAccept: */*\r\n\r\n"
TLS_FIRST = {443, 465, 636, 853, 989, 990, 993, 995, 2376, 5986, 6443, 8443, 9443, 10250}
