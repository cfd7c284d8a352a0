use super::*;
use crate::Topology;

fn request(shape: Shape, routers: usize) -> Request {
    Request { shape, routers, degree: None, seed: 7 }
}

fn read(text: &str) -> Topology {
    crate::parse("generated.yaml", text, std::path::Path::new(""))
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"))
}

fn connected(backbone: &Backbone) -> bool {
    backbone.parts().iter().all(|part| *part == 0)
}

const SHAPES: [(Shape, usize); 6] = [
    (Shape::Grid, 23),
    (Shape::Ring, 9),
    (Shape::Tree, 30),
    (Shape::FatTree, 45),
    (Shape::Waxman, 120),
    (Shape::Barabasi, 120),
];

#[test]
fn every_shape_gives_a_connected_graph_and_a_valid_file() {
    for (shape, n) in SHAPES {
        let backbone = generate(&request(shape, n)).unwrap();
        assert_eq!(backbone.routers.len(), n, "{shape:?}");
        assert!(connected(&backbone), "{shape:?}");
        let topology = read(&backbone.dress(None, None).unwrap());
        assert_eq!(topology.of_kind(damc_wire::Role::Sr).count(), n, "{shape:?}");
        assert_eq!(topology.of_kind(damc_wire::Role::Sg).count(), (n / 8).max(2), "{shape:?}");
    }
}

#[test]
fn shapes_have_the_links_that_make_them() {
    let links = |shape, n| generate(&request(shape, n)).unwrap().trunks.len();
    assert_eq!(links(Shape::Grid, 16), 24);
    assert_eq!(links(Shape::Grid, 15), 22);
    assert_eq!(links(Shape::Ring, 9), 9);
    assert_eq!(links(Shape::Tree, 30), 29);
    assert_eq!(links(Shape::FatTree, 20), 32, "k³/2 between switches");
    assert_eq!(links(Shape::Barabasi, 100), 1 + 98 * 2);
    let waxman = links(Shape::Waxman, 400);
    assert!((700..900).contains(&waxman), "{waxman} links, four a router were meant");
}

#[test]
fn a_seed_is_a_graph_and_another_seed_another() {
    for shape in [Shape::Waxman, Shape::Barabasi] {
        let of = |seed| generate(&Request { seed, ..request(shape, 60) }).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).trunks, of(2).trunks);
    }
}

#[test]
fn degrees_are_respected() {
    let of = |shape, degree| generate(&Request { degree: Some(degree), ..request(shape, 50) }).unwrap();
    assert_eq!(of(Shape::Barabasi, 4).trunks.len(), 1 + 2 + 3 + 46 * 4);
    let star = of(Shape::Tree, 49);
    assert!(star.trunks.iter().all(|t| t.a == 0));
}

#[test]
fn impossible_sizes_are_refused_with_what_is_possible() {
    let why = |shape, n| generate(&request(shape, n)).unwrap_err();
    assert!(why(Shape::FatTree, 30).contains("20 or 45"), "{}", why(Shape::FatTree, 30));
    assert!(why(Shape::FatTree, 3).contains('5'));
    assert!(why(Shape::Ring, 2).contains("3 at least"));
    assert!(why(Shape::Grid, 1_000_000).contains("at most"));
    let wide = generate(&Request { degree: Some(9), ..request(Shape::Tree, 9) }).unwrap_err();
    assert!(wide.contains("from 1 to 8"), "{wide}");
    let crowded = generate(&request(Shape::Ring, 4)).unwrap().dress(None, Some(5)).unwrap_err();
    assert!(crowded.contains("from 1 to 4"), "{crowded}");
}

const SMALL_GML: &str = r#"
graph [
  label "Tiny"
  node [ id 0 label "New York" Latitude 40.71 Longitude -74.01 ]
  node [ id 1 label "Chicago" Latitude 41.85 Longitude -87.65 ]
  node [ id 2 label "New York" ]
  node [ id 9 label "sg-1 &#252;" ]
  edge [ source 0 target 1 LinkSpeedRaw 2500000000.0 ]
  edge [ source 1 target 0 ]
  edge [ source 1 target 2 ]
]
"#;

#[test]
fn gml_keeps_names_places_and_rates_and_says_what_it_left_out() {
    let backbone = import(SMALL_GML, Format::Gml, "x").unwrap();
    assert_eq!(backbone.routers.len(), 3);
    // 1145 km of fibre.
    assert!((5_600..5_850).contains(&backbone.trunks[0].delay_us.unwrap()), "{:?}", backbone.trunks[0]);
    assert_eq!(backbone.trunks[0].rate_kbit, Some(2_500_000));
    let text = backbone.dress(None, None).unwrap();
    for expected in
        ["name: tiny", "new-york: {", "new-york-2: {", "1 parallel links", "1 routers without a way", "Imported: Tiny"]
    {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    read(&text);
}

#[test]
fn graphml_gives_the_same_as_gml() {
    let xml = r#"<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="d1"/>
  <key attr.name="Latitude" attr.type="double" for="node" id="d2"/>
  <key attr.name="Longitude" attr.type="double" for="node" id="d3"/>
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4"/>
  <key attr.name="Network" attr.type="string" for="graph" id="d0"/>
  <graph edgedefault="undirected">
    <data key="d0">Tiny</data>
    <node id="0"><data key="d1">New York</data><data key="d2">40.71</data><data key="d3">-74.01</data></node>
    <node id="1"><data key="d1">Chicago</data><data key="d2">41.85</data><data key="d3">-87.65</data></node>
    <node id="2"><data key="d1">New York</data></node>
    <node id="9"/>
    <edge source="0" target="1"><data key="d4">2500000000.0</data></edge>
    <edge source="1" target="0"/>
    <edge source="1" target="2"/>
  </graph>
</graphml>"#;
    assert_eq!(import(xml, Format::GraphMl, "x"), import(SMALL_GML, Format::Gml, "x"));
}

#[test]
fn mini_ndn_links_keep_their_properties() {
    let conf =
        "[nodes]\na: _ radius=0.5\nb: _\nc: _ # not far\n\n[links]\na:b delay=10ms bw=100 loss=1\nb:c delay=500us\n";
    let backbone = import(conf, Format::MiniNdn, "small").unwrap();
    let ab =
        Trunk { delay_us: Some(10_000), rate_kbit: Some(100_000), loss_percent: Some(1.0), ..Trunk::between(0, 1) };
    assert_eq!(backbone.trunks, [ab, Trunk { delay_us: Some(500), ..Trunk::between(1, 2) }]);
    let topology = read(&backbone.dress(None, Some(2)).unwrap());
    assert_eq!(topology.name().to_string(), "small");
}

#[test]
fn bad_maps_are_refused_at_their_line() {
    let why = |text: &str, format| import(text, format, "x").unwrap_err();
    assert_eq!(why("graph [\n node [ id 0", Format::Gml), "line 2: a `[` is never closed");
    assert_eq!(why("graph [\n label \"abc\n", Format::Gml), "line 2: a text is never closed");
    assert!(why("hello world", Format::Gml).contains("no `graph"));
    assert!(why("graph [ node [ id 0 ] edge [ source 0 target 5 ] ]", Format::Gml).contains("node 5"));
    assert!(why(&"a [ ".repeat(100_000), Format::Gml).contains("nested too deeply"));
    assert!(why("<graphml><graph></graphml>", Format::GraphMl).starts_with("line 1"));
    assert!(why("[nodes]\na: _\n[links]\na:z delay=1ms\n", Format::MiniNdn).starts_with("line 4: there is no node z"));
    assert!(why("[nodes]\na: _\nb: _\n[links]\na:b delay=soon\n", Format::MiniNdn).starts_with("line 5: delay=soon"));
    assert!(why("a: _\n", Format::MiniNdn).starts_with("line 1: expected [nodes]"));
    assert!(why(&" ".repeat(MAX_MAP_LEN + 1), Format::Gml).starts_with("longer than 8 MiB"));
    assert!(why(&" ".repeat(MAX_MAP_LEN), Format::Gml).contains("no `graph"));
    assert!(why("graph [ node [ id 0 ] ]", Format::Gml).contains("no two nodes"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_an_importer_panic(text in "(\\PC|[\\[\\]\"\n =:&#;]){0,200}") {
        for format in [Format::Gml, Format::GraphMl, Format::MiniNdn, Format::Containerlab] {
            let _ = import(&text, format, "x");
        }
    }
}
