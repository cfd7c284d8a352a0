//! What was written is read back by the rules of the OCI image specification (image layout, descriptors, manifest,
//! configuration) with the tar reader of a library.

use std::io::Read as _;

use super::*;

type Files = BTreeMap<String, Vec<u8>>;

fn read(archive: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(archive).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        assert!(files.insert(path.clone(), bytes).is_none(), "{path} is there twice");
    }
    files
}

fn json_of(files: &Files, path: &str) -> Value {
    serde_json::from_slice(files.get(path).unwrap_or_else(|| panic!("no {path}")))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The blob of a descriptor, whose type, digest and size are right.
fn followed<'f>(files: &'f Files, descriptor: &Value, kind: &str) -> (String, &'f [u8]) {
    assert_eq!(descriptor["mediaType"], kind, "{descriptor}");
    let digest = descriptor["digest"].as_str().expect("a digest");
    let hex = digest.strip_prefix("sha256:").expect("SHA-256");
    assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{digest}");
    let path = format!("blobs/sha256/{hex}");
    let bytes = files.get(&path).unwrap_or_else(|| panic!("{path} is missing"));
    assert_eq!(to_hex(&Sha256::digest(bytes)), hex, "{path} is something else");
    assert_eq!(descriptor["size"], bytes.len(), "{path}");
    (path, bytes)
}

/// Checks a layout; the paths of its only layer.
fn check(archive: &[u8]) -> Files {
    let files = read(archive);
    assert_eq!(json_of(&files, "oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    let index = json_of(&files, "index.json");
    assert_eq!(
        (&index["schemaVersion"], &index["mediaType"]),
        (&json!(2), &json!("application/vnd.oci.image.index.v1+json"))
    );
    let manifests = index["manifests"].as_array().expect("manifests");
    assert_eq!(manifests.len(), 1);
    let entry = &manifests[0];
    let (manifest_path, manifest) = followed(&files, entry, "application/vnd.oci.image.manifest.v1+json");
    let manifest: Value = serde_json::from_slice(manifest).expect("a manifest");
    assert_eq!((&manifest["schemaVersion"], &manifest["mediaType"]), (&json!(2), &entry["mediaType"]));
    let (config_path, config) = followed(&files, &manifest["config"], "application/vnd.oci.image.config.v1+json");
    let config: Value = serde_json::from_slice(config).expect("a configuration");
    for key in ["architecture", "os"] {
        assert!(config[key].as_str().is_some_and(|value| !value.is_empty()), "{key}");
        assert_eq!(config[key], entry["platform"][key], "{key}");
    }
    assert_eq!(config["rootfs"]["type"], "layers");
    let layers = manifest["layers"].as_array().expect("layers");
    let (layer_path, layer) = followed(&files, &layers[0], "application/vnd.oci.image.layer.v1.tar");
    // The digest of a layer that is not compressed is that of its content.
    assert_eq!(config["rootfs"]["diff_ids"], json!([layers[0]["digest"]]));
    assert_eq!(layers.len(), 1);
    let older = json_of(&files, "manifest.json");
    assert_eq!((&older[0]["Config"], &older[0]["Layers"]), (&json!(config_path), &json!([layer_path])));
    let mut blobs = [manifest_path, config_path, layer_path];
    blobs.sort();
    let there: Vec<&String> = files.keys().filter(|path| path.starts_with("blobs/")).collect();
    assert_eq!(there, blobs.iter().collect::<Vec<_>>(), "no blob that nothing leads to");
    read(layer)
}

#[test]
fn an_archive_is_an_oci_image_layout() {
    let folder = std::env::temp_dir().join(format!("damc-image-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let program = folder.join("damc-sr");
    fs::write(&program, b"a program").expect("a file");
    let files = BTreeMap::from([(PathBuf::from("usr/bin/damc-sr"), program)]);
    let mut archives = [Vec::new(), Vec::new()];
    for archive in &mut archives {
        archive_of(layer(&files).expect("a layer"), "damc-nodes:1", "amd64", archive).expect("an archive");
    }
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(archives[0], archives[1], "the same files, the same bytes");
    let inside = check(&archives[0]);
    assert_eq!(inside["usr/bin/damc-sr"], b"a program");
    assert!(inside.contains_key("damc/") || inside.contains_key("damc"), "{:?}", inside.keys());
}

#[test]
fn libraries_are_those_that_the_loader_names() {
    let own = std::env::current_exe().expect("this test");
    let libraries = libraries_of(&own).expect("ldd");
    assert!(libraries.iter().all(|library| library.is_absolute() && library.exists()), "{libraries:?}");
}
