use super::*;

const FILE: &str = "\
name: mine # the lab
defaults:
  link: { delay: 1ms, rate: 1gbit }
nodes:
  sr-1: { kind: sr }
  \"sg.1\":
    kind: sg # a gateway
  pod-1:
    kind: pod
    services:
      - { prefix: /A/1, pool: /A }
      - prefix: /B
        weight: 2

      # the end of pod-1
links:
  - [a, b]
  - { name: wan, between: [a, b], delay: 5ms, loss: { model: gilbert-elliott, p: 1%, r: 10% } }
  - name: lan
    between: [a, b]
qos:
empty: {}
nothing: ~ # yet
";

fn set(setting: &str) -> Result<String, SettingError> {
    with_settings(FILE, &[setting.parse()?]).map_err(|mut errors| errors.remove(0))
}

/// The lines that differ: those that went and those that came.
fn change(setting: &str) -> (Vec<String>, Vec<String>) {
    let new = set(setting).unwrap_or_else(|error| panic!("{setting}: {error}"));
    let lines = |text: &str, other: &str| {
        let others: Vec<_> = other.lines().collect();
        text.lines().filter(|line| !others.contains(line)).map(|line| line.trim().to_owned()).collect()
    };
    (lines(FILE, &new), lines(&new, FILE))
}

#[test]
fn values_are_replaced_where_they_stand() {
    assert_eq!(change("name=other"), (vec!["name: mine # the lab".into()], vec!["name: other # the lab".into()]));
    let (went, came) = change("links.wan.loss=0.5%");
    assert!(went[0].contains("gilbert"), "{went:?}");
    assert_eq!(came, ["- { name: wan, between: [a, b], delay: 5ms, loss: 0.5% }"]);
}

#[test]
fn keys_with_dots_are_quoted() {
    assert_eq!(change("nodes.\"sg.1\".kind=sr").1, ["kind: sr # a gateway"]);
    let path: SettingPath = "nodes.\"sg.1\".kind".parse().unwrap();
    assert_eq!(path.keys(), ["nodes", "sg.1", "kind"]);
    assert_eq!(path.to_string(), "nodes.\"sg.1\".kind");
}

#[test]
fn missing_keys_are_added_to_maps_in_braces_and_to_blocks() {
    assert_eq!(change("links.wan.jitter=1ms").1[0].find("{ jitter: 1ms, name: wan"), Some(2));
    assert_eq!(change("links.lan.delay=3ms").1, ["- delay: 3ms", "name: lan"]);
    assert_eq!(change("nodes.pod-1.services./B.pool=/B").1, ["- pool: /B", "prefix: /B"]);
    assert_eq!(change("nodes.pod-1.services.0.weight=3").1, ["- { weight: 3, prefix: /A/1, pool: /A }"]);
    assert_eq!(change("qos.probe.interval=200ms").1, ["qos: { probe: { interval: 200ms } }"]);
    assert_eq!(change("qos=3").1, ["qos: 3"]);
    assert_eq!(change("nothing.a=3").1, ["nothing: { a: 3 } # yet"]);
    assert_eq!(change("empty.a.b=1").1, ["empty: { a: { b: 1 } }"]);
    assert_eq!(change("licences.pod-1=[/A/1, /B]").1, ["licences: { pod-1: [/A/1, /B] }"]);
}

#[test]
fn whole_blocks_are_replaced_and_what_follows_stays() {
    let new = set("nodes.pod-1.services=[]").unwrap();
    assert!(new.contains("services:\n      []\n\n      # the end of pod-1\nlinks:\n"), "{new}");
}

#[test]
fn an_entry_may_lose_the_name_it_is_found_by() {
    assert_eq!(change("links.wan.name=lan-2").1[0].find("{ name: lan-2, between"), Some(2));
    assert_eq!(change("links.wan=[a, b]").1.len(), 0, "there is such a line already");
    assert!(set("links.wan=1").unwrap().contains("  - 1\n"));
}

#[test]
fn texts_stay_texts_and_cannot_leave_their_place() {
    assert!(change("links.wan.delay=5ms, x").1[0].contains("delay: \"5ms, x\""));
    assert!(change("name=\"8080\"").1[0].contains("name: \"8080\""), "{:?}", change("name=\"8080\""));
    for bad in ["links.wan.delay=5ms, jitter: 9ms", "name={ a", "name=a: b", "name=*x", "name=a\nb", "name=null"] {
        assert!(matches!(set(bad), Err(SettingError::BadValue { .. })), "{bad}: {:?}", set(bad));
    }
    assert!(matches!(set("name="), Err(SettingError::NoValue(_))));
    assert!(matches!(set("name"), Err(SettingError::NoValue(_))));
    for bad in ["=1", "a..b=1", ".a=1", "a.=1", "a.\"b=1", "a\\b=1"] {
        assert!(matches!(set(bad), Err(SettingError::BadPath(_))), "{bad}: {:?}", set(bad));
    }
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let said = |setting| set(setting).unwrap_err().to_string();
    assert_eq!(said("links.wam.delay=1ms"), "links.wam.delay: links has no entry `wam`; did you mean `wan`?");
    assert_eq!(said("links.north.delay=1ms"), "links.north.delay: links has no entry `north`; named are wan, lan");
    assert_eq!(said("nodes.sr-2.kind=sg"), "nodes.sr-2.kind: nodes has no entry `sr-2`; did you mean `sr-1`?");
    let error = said("name.first=x");
    assert_eq!(error, "name.first: name is a text in this file, so there is nothing below it");
}

#[test]
fn what_an_alias_shares_is_not_changed_in_two_places() {
    let file = "a: &x { k: 1 }\nb: *x\nc: &y 5ms\nd: *y\n";
    let set = |setting: &str| with_settings(file, &[setting.parse().unwrap()]).map_err(|errors| errors.len());
    for shared in ["a.k=2", "b.k=2", "c=6ms", "a=3"] {
        assert_eq!(set(shared), Err(1), "{shared}");
    }
    assert_eq!(set("e=1").unwrap(), format!("e: 1\n{file}"));
}

#[test]
fn all_errors_are_told_and_one_path_covers_what_is_below() {
    let settings: Vec<Setting> = ["links.x.delay=1ms", "name=ok", "nodes.y.kind=sr"].map(|s| s.parse().unwrap()).into();
    assert_eq!(with_settings(FILE, &settings).unwrap_err().len(), 2);
    let path = |text: &str| text.parse::<SettingPath>().unwrap();
    assert!(path("a.b").overlaps(&path("a")) && path("a").overlaps(&path("a.b")));
    assert!(!path("a.b").overlaps(&path("a.c")));
}
