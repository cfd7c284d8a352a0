//! Whether a command of the management interface makes sense at this node.

use damc_mgmt::command::Command;
use damc_wire::Role;

use crate::requests::Refusal;

/// Checks a command for a node of this role with these ports.
pub(crate) fn check(role: Role, ports: &[String], command: &Command) -> Result<(), Refusal> {
    if !command.roles().contains(&role) {
        return Err(Refusal::NotHere(format!("a node of role {role} does not know this order")));
    }
    match command {
        Command::Cost { port, .. } if !ports.iter().any(|known| known == port.as_str()) => {
            Err(Refusal::Bad(format!("port: there is no port {:?}", port.as_str())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Command {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn orders_go_to_the_roles_that_know_them() {
        let overload = parse(r#"{"order":"overload","on":true}"#);
        assert_eq!(check(Role::Sg, &[], &overload), Ok(()));
        assert!(matches!(check(Role::Pod, &[], &overload), Err(Refusal::NotHere(_))));
        let kill = parse(r#"{"order":"kill-service","prefix":"/A/1"}"#);
        assert_eq!(check(Role::Pod, &[], &kill), Ok(()));
        assert!(matches!(check(Role::Sg, &[], &kill), Err(Refusal::NotHere(_))));
    }

    #[test]
    fn ports_are_known_by_name() {
        let ports = ["sr-1".to_owned(), "sr-2".to_owned()];
        let order = |port: &str| parse(&format!(r#"{{"order":"cost","port":"{port}","cost":7}}"#));
        assert_eq!(check(Role::Sr, &ports, &order("sr-2")), Ok(()));
        assert_eq!(
            check(Role::Sr, &ports, &order("sr-3")),
            Err(Refusal::Bad("port: there is no port \"sr-3\"".into()))
        );
    }
}
