//! Models that reach for files they have no business with, in folders made for them.

use super::build::{Net, op, tensor};
use super::{Answer, LIMITS, judge};
use planish::DType::{F32, String as Text};
use planish::ImportErrorKind::{External, Invalid, Io};
use planish::onnx::import_file;
use planish::onnx::proto::tensor_proto::DataLocation;
use planish::onnx::proto::{StringStringEntryProto, TensorProto};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What a tensor says of the file that it lies in, and the answer it gets.
type Pointer = (&'static str, Answer, &'static [(&'static str, &'static str)]);

const REFUSED: Answer = Answer::Import(External);

const POINTERS: &[Pointer] = &[
    ("external_sound", Answer::Runs, &[("location", "data"), ("offset", "4"), ("length", "8")]),
    ("external_sound_in_folder", Answer::Runs, &[("location", "./inner/data")]),
    ("external_sound_with_unknown_keys", Answer::Runs, &[("location", "data"), ("checksum", "0"), ("mode", "w")]),
    ("external_nowhere", REFUSED, &[]),
    ("external_two_locations", REFUSED, &[("location", "data"), ("location", "../outside")]),
    ("external_empty_location", REFUSED, &[("location", "")]),
    ("external_missing", REFUSED, &[("location", "no-such-file")]),
    ("external_absolute", REFUSED, &[("location", "/etc/passwd")]),
    ("external_above", REFUSED, &[("location", "../outside")]),
    ("external_above_from_within", REFUSED, &[("location", "inner/../../outside")]),
    ("external_above_and_back", REFUSED, &[("location", "../model/data")]),
    ("external_backslashes", REFUSED, &[("location", "..\\outside")]),
    ("external_drive", REFUSED, &[("location", "C:data")]),
    ("external_nul", REFUSED, &[("location", "data\0.txt")]),
    ("external_folder", REFUSED, &[("location", "inner")]),
    ("external_link", REFUSED, &[("location", "link")]),
    ("external_link_to_neighbour", REFUSED, &[("location", "link-to-data")]),
    ("external_beneath_linked_folder", REFUSED, &[("location", "linked/outside")]),
    ("external_second_name", REFUSED, &[("location", "hard-link")]),
    ("external_device", REFUSED, &[("location", "socket")]),
    ("external_offset_negative", REFUSED, &[("location", "data"), ("offset", "-4")]),
    ("external_offset_beyond_end", REFUSED, &[("location", "data"), ("offset", "400")]),
    ("external_offset_wraps", REFUSED, &[("location", "data"), ("offset", "18446744073709551612")]),
    ("external_offset_no_number", REFUSED, &[("location", "data"), ("offset", "0x10")]),
    ("external_end_beyond_end", REFUSED, &[("location", "data"), ("offset", "12")]),
    ("external_length_short", REFUSED, &[("location", "data"), ("length", "4")]),
    ("external_length_long", REFUSED, &[("location", "data"), ("length", "16")]),
    ("external_length_wraps", REFUSED, &[("location", "data"), ("offset", "8"), ("length", "18446744073709551615")]),
];

/// What is wrong with the answers.
pub fn failures() -> Vec<String> {
    let folder = lay_out();
    let mut cases: Vec<(String, Answer, TensorProto)> =
        POINTERS.iter().map(|(name, expected, entries)| ((*name).to_owned(), *expected, pointer(entries))).collect();
    let sound = || pointer(&[("location", "data")]);
    let floats = TensorProto { float_data: vec![0.0; 2], ..sound() };
    cases.push(("external_and_elements".to_owned(), Answer::Import(Invalid), floats));
    let texts = TensorProto { data_type: Text.to_onnx(), ..sound() };
    cases.push(("external_strings".to_owned(), Answer::Import(Invalid), texts));
    let huge = TensorProto { dims: vec![1 << 40], ..sound() };
    cases.push(("external_shape_beyond_end".to_owned(), REFUSED, huge));
    let mut wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, expected, tensor)| {
            let file = folder.join(&name).with_extension("onnx");
            let net = Net::new().initializer(tensor).node(op("Shape", "w", "y")).outputs("y");
            fs::write(&file, net.bytes()).expect("the folder is writable");
            judge(&name, expected, LIMITS, move |options| import_file(&file, options))
        })
        .collect();
    let absent = folder.join("absent.onnx");
    let read = move |options: &_| import_file(&absent, options);
    wrong.extend(judge("external_model_absent", Answer::Import(Io), LIMITS, read));
    let outside = fs::read(folder.join("../outside")).expect("the file is there");
    assert_eq!(outside, [7; 16], "a file outside was changed");
    wrong
}

fn pointer(entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
    TensorProto {
        data_location: DataLocation::External.into(),
        external_data: entries.iter().map(entry).collect(),
        ..tensor("w", F32, &[2])
    }
}

/// A folder `model` with data in and links out of it, beside a file `outside`.
fn lay_out() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("malformed_external");
    if root.exists() {
        fs::remove_dir_all(&root).expect("the folder is ours");
    }
    let model = root.join("model");
    fs::create_dir_all(model.join("inner")).expect("the folder is writable");
    for file in ["model/data", "model/inner/data", "outside", "model/named-twice"] {
        fs::write(root.join(file), [7; 16]).expect("the folder is writable");
    }
    fs::hard_link(model.join("named-twice"), model.join("hard-link")).expect("links can be made");
    for (target, link) in [("../outside", "link"), ("data", "link-to-data"), ("..", "linked")] {
        symlink(target, model.join(link)).expect("links can be made");
    }
    drop(std::os::unix::net::UnixListener::bind(model.join("socket")).expect("sockets can be made"));
    model
}
