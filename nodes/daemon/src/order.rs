//! Orders of the management interface in the words of the machine.

use damc_mgmt::order::OrderRequest;
use damc_proto::io::{Order, PortId};
use damc_wire::{Name, NodeId, Role};

use crate::requests::Refusal;

/// An order that made sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// For the machine.
    Machine(Order),
    /// Ask the SCSC, then answer.
    QueryPath(Name),
    /// For the service processes of a pod.
    StartService(Name, Option<Name>),
    /// The same.
    StopService(Name),
    /// The same.
    KillService(Name),
    /// End the process.
    Stop,
}

/// Checks an order for a node of this role with these ports.
pub(crate) fn check(role: Role, ports: &[String], request: OrderRequest) -> Result<Command, Refusal> {
    let allowed: &[Role] = match request {
        OrderRequest::Overload { .. } | OrderRequest::Cost { .. } => &[Role::Sg, Role::Sr],
        OrderRequest::Stop => Role::ALL,
        OrderRequest::RevokeLicence { .. } | OrderRequest::AddLicence { .. } => &[Role::Spa],
        OrderRequest::Probe | OrderRequest::QueryPath { .. } => &[Role::Sg],
        OrderRequest::StartService { .. } | OrderRequest::StopService { .. } | OrderRequest::KillService { .. } => {
            &[Role::Pod]
        }
    };
    if !allowed.contains(&role) {
        return Err(Refusal::NotHere(format!("a node of role {role} does not know this order")));
    }
    Ok(match request {
        OrderRequest::Overload { on } => Command::Machine(Order::Overload(on)),
        OrderRequest::Cost { port, cost } => {
            let known = (0..).zip(ports).find(|(_, name)| **name == port).map(|(number, _)| PortId(number));
            let port = known.ok_or_else(|| Refusal::Bad(format!("port: there is no port {port:?}")))?;
            Command::Machine(Order::Cost { port, cost })
        }
        OrderRequest::Stop => Command::Stop,
        OrderRequest::RevokeLicence { pod, prefix } => {
            Command::Machine(Order::RevokeLicence { pod: node("pod", &pod)?, prefix: name("prefix", &prefix)? })
        }
        OrderRequest::AddLicence { pod, prefix } => {
            Command::Machine(Order::AddLicence { pod: node("pod", &pod)?, prefix: name("prefix", &prefix)? })
        }
        OrderRequest::Probe => Command::Machine(Order::Probe),
        OrderRequest::QueryPath { target } => Command::QueryPath(name("target", &target)?),
        OrderRequest::StartService { prefix, pool } => {
            let pool = pool.map(|pool| name("pool", &pool)).transpose()?;
            Command::StartService(name("prefix", &prefix)?, pool)
        }
        OrderRequest::StopService { prefix } => Command::StopService(name("prefix", &prefix)?),
        OrderRequest::KillService { prefix } => Command::KillService(name("prefix", &prefix)?),
    })
}

/// Parses a name out of a field.
pub(crate) fn name(field: &str, text: &str) -> Result<Name, Refusal> {
    text.parse().map_err(|e| Refusal::Bad(format!("{field}: {text:?} is no name: {e}")))
}

fn node(field: &str, text: &str) -> Result<NodeId, Refusal> {
    NodeId::new(text).map_err(|e| Refusal::Bad(format!("{field}: {text:?} is no node: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> OrderRequest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn orders_go_to_the_roles_that_know_them() {
        let overload = parse(r#"{"order":"overload","on":true}"#);
        assert_eq!(check(Role::Sg, &[], overload.clone()), Ok(Command::Machine(Order::Overload(true))));
        assert!(matches!(check(Role::Pod, &[], overload), Err(Refusal::NotHere(_))));
        let kill = parse(r#"{"order":"kill-service","prefix":"/A/1"}"#);
        assert_eq!(check(Role::Pod, &[], kill), Ok(Command::KillService("/A/1".parse().unwrap())));
    }

    #[test]
    fn ports_are_found_by_name() {
        let ports = ["sr-1".to_owned(), "sr-2".to_owned()];
        let order = |port: &str| parse(&format!(r#"{{"order":"cost","port":"{port}","cost":7}}"#));
        let cost = Command::Machine(Order::Cost { port: PortId(1), cost: 7 });
        assert_eq!(check(Role::Sr, &ports, order("sr-2")), Ok(cost));
        assert!(matches!(check(Role::Sr, &ports, order("sr-3")), Err(Refusal::Bad(_))));
    }

    #[test]
    fn bad_names_say_where_and_why() {
        let order = parse(r#"{"order":"add-licence","pod":"pod-1","prefix":"A/1"}"#);
        let Err(Refusal::Bad(text)) = check(Role::Spa, &[], order) else { panic!("accepted") };
        assert!(text.contains("prefix") && text.contains("starts with '/'"), "{text}");
    }
}
