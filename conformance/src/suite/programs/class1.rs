//! A pod without a DAMC library registers at its SG, over HTTP and over gRPC.

use damc_wire::hex::to_hex;
use damc_wire::message::{Announce, AnnounceEntry};
use damc_wire::{NodeId, Role, address};
use serde_json::{Value, json};

use crate::case::{Findings, Stop};
use crate::testbed::Testbed;

pub(super) async fn over_http(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "openssl", "xxd", "python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let pod = testbed.owner_of(&target)?;
    let name = format!("{target}/by-http-{}", testbed.unique());
    let gateway = format!("http://[{}]", address::of_gateway(testbed.topology.domain().as_str()));
    let prefixes = format!("{gateway}/v1/prefixes");
    let said = json!({"pod": pod, "add": [{"prefix": name}]});
    let status = ["--write-out", "\n%{http_code} %{content_type}"];
    let ran = testbed.curl(&pod, &[&status[..], &["--data", &said.to_string(), &prefixes]].concat()).await?;
    findings.check_saw(
        ran.text().ends_with("401 application/problem+json"),
        "an unsigned announcement is answered with a challenge",
        ran.text(),
    );
    let answer = signed_announce(testbed, &pod, &prefixes, &said).await?;
    findings.check_eq(
        &answer["outcomes"][0]["accepted"],
        &json!(true),
        format!("{pod} announces {name}, signed by `openssl`"),
    );
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let _web = testbed.serve_web(&pod, &name).await?;
    let ran = testbed.curl(&caller, &[&testbed.url(&name, "/")?]).await?;
    findings.check_eq(&ran.json()["name"].as_str(), &Some(name.as_str()), format!("{caller} reaches it"));

    let another = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| *p != pod && testbed.sg_of(p).is_ok());
    let unlicensed = json!({"pod": pod, "add": [{"prefix": format!("/not-licensed/{}", testbed.unique())}]});
    let refused = signed_announce(testbed, &pod, &prefixes, &unlicensed).await?;
    findings.check_eq(
        &refused["reason"],
        &json!("not-licensed"),
        "a name without a licence is refused with the reason",
    );
    if let Some(stranger) = another {
        let forged = signed_with(testbed, &pod, &stranger, &prefixes, &said).await?;
        findings.check_eq(
            &forged["reason"],
            &json!("bad-identity"),
            format!("an announcement of {pod} signed by {stranger} is refused"),
        );
    }
    // The query of the gRPC service, made by hand: an empty message in a frame of five bytes.
    let grpc = format!(
        "printf '\\0\\0\\0\\0\\0' | curl -sS --max-time 8 --http2-prior-knowledge -H 'content-type: application/grpc' \
                        -H 'te: trailers' --data-binary @- '{gateway}/damc.class1.v1.Class1/Query'"
    );
    let ran = testbed.run_inside(&pod, &["sh", "-c", &grpc]).await?;
    let holds = |name: &str| ran.out.windows(name.len()).any(|window| window == name.as_bytes());
    findings.check_saw(
        holds(&name) && holds(&target),
        format!("the gRPC service lists {target} and {name}"),
        format!("{} bytes", ran.out.len()),
    );

    let withdrawn = signed_announce(testbed, &pod, &prefixes, &json!({"pod": pod, "withdraw": [name]})).await?;
    findings.check_eq(&withdrawn["outcomes"][0]["accepted"], &json!(true), format!("{pod} withdraws it"));
    testbed.wait_nowhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    Ok(())
}

async fn signed_announce(testbed: &Testbed, pod: &str, prefixes: &str, said: &Value) -> Result<Value, Stop> {
    signed_with(testbed, pod, pod, prefixes, said).await
}

/// Posts `said` from a pod, signed with the key of `signer`: asks for the challenge and signs the announcement with `openssl`.
async fn signed_with(testbed: &Testbed, pod: &str, signer: &str, prefixes: &str, said: &Value) -> Result<Value, Stop> {
    let challenge = testbed.curl(pod, &["--data", &said.to_string(), prefixes]).await?.json();
    let sign = signed_bytes(said, &challenge)
        .ok_or_else(|| Stop::Failed(format!("expected: a challenge with request, sg and session; saw: {challenge}")))?;
    let folder = testbed.processes().directory.display().to_string();
    let words = format!(
        "cd {folder} && printf %s {sign} | xxd -r -p > sign.bin && \
         openssl pkeyutl -sign -rawin -inkey {signer}.pem -in sign.bin | xxd -p | tr -d '\\n'"
    );
    let signature = testbed.run_inside(pod, &["sh", "-c", &words]).await?.text();
    let mut signed = said.clone();
    signed["request"] = challenge["request"].clone();
    signed["signature"] = signature.into();
    Ok(testbed.curl(pod, &["--data", &signed.to_string(), prefixes]).await?.json())
}

/// The bytes to sign, in hexadecimal: made of what the pod says, and of the SG's part in it.
fn signed_bytes(said: &Value, challenge: &Value) -> Option<String> {
    let number = |member: &str| challenge[member].as_str()?.parse().ok();
    let names = |member: &str| said[member].as_array().into_iter().flatten();
    let announce = Announce {
        request: number("request")?,
        pod: NodeId::new(said["pod"].as_str()?).ok()?,
        sg: NodeId::new(challenge["sg"].as_str()?).ok()?,
        sg_session: number("session")?,
        add: names("add")
            .map(|entry| Some(AnnounceEntry { prefix: entry["prefix"].as_str()?.parse().ok()?, pool: None, weight: 1 }))
            .collect::<Option<_>>()?,
        withdraw: names("withdraw").map(|name| name.as_str()?.parse().ok()).collect::<Option<_>>()?,
        signature: [0; 64],
    };
    Some(to_hex(&announce.signed_part()))
}

/// A stub of a mainstream gRPC library in a pod announces, looks up, withdraws, and asks for health and services.
pub(super) async fn over_grpc(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    testbed.needs(&["curl", "python3"]).await?;
    let (caller, target, _) = testbed.far_pair().await?;
    let pod = testbed.owner_of(&target)?;
    let stub = super::rpc::program(testbed, "damc-example-announce")?.display().to_string();
    let name = format!("{target}/by-grpc-{}", testbed.unique());
    let key_of = |pod: &str| format!("DAMC_KEY={}", testbed.processes().directory.join(format!("{pod}.pem")).display());
    let key = key_of(&pod);
    let say = async |key: &str, words: &[&str]| {
        let ran = testbed.run_inside_all(&pod, &[&["env", key, &stub][..], words].concat()).await?;
        Ok::<_, Stop>((ran.code, ran.text()))
    };
    let (code, said) = say(&key, &["announce", &name]).await?;
    findings.check_saw(code == Some(0) && said.contains(&name), format!("{pod} announces {name}"), &said);
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let _web = testbed.serve_web(&pod, &name).await?;
    let ran = testbed.curl(&caller, &[&testbed.url(&name, "/")?]).await?;
    findings.check_eq(&ran.json()["name"].as_str(), &Some(name.as_str()), format!("{caller} reaches it"));
    let (code, said) = say(&key, &["query", &target]).await?;
    let listed = said.lines().filter(|line| line.starts_with(&target)).count();
    findings.check_saw(
        code == Some(0) && listed >= 2 && listed == said.lines().count(),
        format!("the query of {target} lists at least two names, all below it"),
        said.replace('\n', ", "),
    );

    let unlicensed = format!("/not-licensed/{}", testbed.unique());
    let (code, said) = say(&key, &["announce", &unlicensed]).await?;
    findings.check_saw(code == Some(1) && said.contains("not-licensed"), "a name without a licence is refused", &said);
    let stranger = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| *p != pod && testbed.sg_of(p).is_ok());
    if let Some(stranger) = stranger {
        let (code, said) = say(&key_of(&stranger), &["announce", &name]).await?;
        findings.check_saw(
            code == Some(1) && said.starts_with("PermissionDenied"),
            format!("{name} is refused with the key of {stranger}"),
            &said,
        );
    }
    findings.check_eq(&say(&key, &["health"]).await?, &(Some(0), "serving".to_owned()), "the service is healthy");
    let (code, said) = say(&key, &["services"]).await?;
    let has = |service: &str| said.lines().any(|line| line == service);
    findings.check_saw(
        code == Some(0) && has("damc.class1.v1.Class1"),
        "reflection lists damc.class1.v1.Class1",
        said.replace('\n', ", "),
    );

    let (code, _) = say(&key, &["withdraw", &name]).await?;
    findings.check_eq(&code, &Some(0), format!("{pod} withdraws it"));
    testbed.wait_nowhere(std::slice::from_ref(&name), testbed.t_conv()).await
}
