//! Bytes that are no model at all.

use super::Answer::Import;
use super::build::{Net, op};
use super::{Case, case};
use planish::DType::F32;
use planish::ImportErrorKind::{Limit, Unsupported, Wire};

pub fn cases() -> Vec<Case> {
    vec![
        case("wire_empty", Import(Unsupported), vec![]),
        case("wire_web_page", Import(Wire), b"<!DOCTYPE html><html><body>Not found</body></html>".to_vec()),
        case("wire_lfs_pointer", Import(Wire), b"version https://git-lfs.github.com/spec/v1\nsize 1\n".to_vec()),
        case("wire_zip", Import(Wire), b"PK\x03\x04\x14\x00\x00\x00\x00\x00archive/data.pkl".to_vec()),
        case("wire_all_ones", Import(Wire), vec![0xff; 64]),
        case("wire_truncated", Import(Wire), truncated()),
        case("wire_length_beyond_end", Import(Wire), vec![0x3a, 0x7f, 0x0a, 0x00]),
        case("wire_length_of_2_to_63", Import(Wire), with_varint(0x3a, u64::MAX / 2)),
        case("wire_length_of_2_to_64", Import(Wire), with_varint(0x3a, u64::MAX)),
        case("wire_varint_of_eleven_bytes", Import(Wire), [&[0x08][..], &[0x80; 10], &[0x01]].concat()),
        case("wire_varint_without_end", Import(Wire), vec![0x08, 0x80]),
        case("wire_field_number_zero", Import(Wire), vec![0x02, 0x00]),
        case("wire_field_number_beyond_32_bits", Import(Wire), with_varint_tag(u64::from(u32::MAX) + 0x40)),
        case("wire_type_six", Import(Wire), vec![0x0e]),
        case("wire_type_seven", Import(Wire), vec![0x0f]),
        case("wire_graph_as_number", Import(Wire), vec![0x38, 0x01]),
        case("wire_version_as_text", Import(Wire), vec![0x0a, 0x01, b'8']),
        case("wire_name_not_utf8", Import(Wire), field(2, b"\xff\xfe")),
        case("wire_group_end_alone", Import(Wire), vec![0xa4, 0x3f]),
        case("wire_group_not_ended", Import(Wire), vec![0xa3, 0x3f, 0xa0, 0x3f, 0x01]),
        case("wire_groups_nested_deeply", Import(Wire), [0xa3, 0x3f].repeat(10_000)),
        case("wire_messages_nested_deeply", Import(Limit), graphs_within_graphs(60)),
        case("wire_packed_floats_of_odd_length", Import(Wire), initializer(&field(4, &[0; 7]))),
        case("wire_packed_numbers_cut_off", Import(Wire), initializer(&field(7, &[0x80, 0x80]))),
        case("wire_fixed32_cut_off", Import(Wire), vec![0xa5, 0x3f, 0x00, 0x00]),
        case("wire_fixed64_cut_off", Import(Wire), vec![0xa1, 0x3f, 0x00, 0x00]),
    ]
}

/// A tag, a length and the bytes: one field of wire type 2 with a number below 16.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(payload.len(), &mut out).expect("a vector grows");
    out.extend_from_slice(payload);
    out
}

fn with_varint(tag: u8, value: u64) -> Vec<u8> {
    let mut out = vec![tag];
    prost::encoding::encode_varint(value, &mut out);
    out
}

fn with_varint_tag(tag: u64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(tag, &mut out);
    out.push(0);
    out
}

/// A model whose graph has an initializer of these bytes.
fn initializer(tensor: &[u8]) -> Vec<u8> {
    field(7, &field(5, tensor))
}

/// `ModelProto.graph`, then `node`, `attribute` and `g` again and again.
fn graphs_within_graphs(levels: usize) -> Vec<u8> {
    field(7, &(0..levels).fold(Vec::new(), |graph, _| field(1, &field(5, &field(6, &graph)))))
}

fn truncated() -> Vec<u8> {
    let mut bytes = Net::new().input("x", F32, &[2]).node(op("Relu", "x", "y")).outputs("y").bytes();
    bytes.truncate(bytes.len() - 3);
    bytes
}
