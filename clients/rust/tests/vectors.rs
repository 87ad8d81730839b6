//! The cases of `clients/vectors.json`, which every language runs.

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut};
use cofactor::testing::{AuthenticatorApp, Phone, Result, TestServer};
use cofactor::{Client, Connector, Error, FILE_DESCRIPTOR_SET};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value, json};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};
use uuid::Uuid;

type Names = HashMap<String, String>;

struct Runner {
    server: TestServer,
    pool: DescriptorPool,
}

impl Runner {
    async fn run(&self, steps: &[&Value]) -> Result<()> {
        let demo = self.server.demo();
        let mut names: Names = [
            ("client_id", &demo.client_id),
            ("client_secret", &demo.client_secret),
            ("username", &demo.username),
            ("password", &demo.password),
            ("realm", &demo.realm),
            ("audience", &demo.audience),
            ("issuer", &demo.issuer),
            ("subject", &Uuid::new_v4().simple().to_string()),
            ("phone", &Phone::new().number().to_owned()),
        ]
        .map(|(name, text)| (name.to_owned(), text.clone()))
        .into();
        for (number, step) in steps.iter().enumerate() {
            let filled = filled(step, &names, self.server.now().await?)?;
            let step = filled.as_object().ok_or("a step is an object")?;
            self.take(step, &mut names).await.map_err(|error| format!("step {number}, {}: {error}", json!(step)))?;
        }
        Ok(())
    }

    async fn take(&self, step: &Map<String, Value>, names: &mut Names) -> Result<()> {
        if let Some(texts) = step.get("set").and_then(Value::as_object) {
            names.extend(texts.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned())));
        } else if let Some(seconds) = step.get("advance").and_then(Value::as_u64) {
            self.server.advance(Duration::from_secs(seconds)).await?;
        } else if let Some(to) = step.get("outbox").and_then(|outbox| outbox["to"].as_str()) {
            names.insert("code".to_owned(), Phone::at(to).code(&self.server).await?);
        } else {
            let answer = self.call(step).await?;
            match (step.get("expect"), step.get("refused"), answer) {
                (Some(expected), None, Ok(response)) => {
                    fits(expected, Some(&response)).map_err(|what| format!("{what} in {response}"))?;
                    for (name, path) in step.get("save").and_then(Value::as_object).into_iter().flatten() {
                        let pointer = format!("/{}", path.as_str().unwrap_or_default().replace('.', "/"));
                        let text = response.pointer(&pointer).and_then(Value::as_str).ok_or("nothing to keep")?;
                        names.insert(name.clone(), text.to_owned());
                    }
                }
                (None, Some(expected), Err(error)) => refused(expected, &error)?,
                (_, _, answer) => return Err(format!("answered {answer:?}").into()),
            }
        }
        Ok(())
    }

    async fn call(&self, step: &Map<String, Value>) -> Result<std::result::Result<Value, Error>> {
        let path = format!("cofactor.v1.{}", step["rpc"].as_str().ok_or("no rpc")?);
        let (service, name) = path.split_once('/').ok_or("no method")?;
        let service = self.pool.get_service_by_name(service).ok_or("no such service")?;
        let method = service.methods().find(|method| method.name() == name).ok_or("no such method")?;
        let empty = json!({});
        let request = DynamicMessage::deserialize(method.input(), step.get("request").unwrap_or(&empty))?;
        let mut client = self.client(step.get("client").and_then(Value::as_str).unwrap_or("demo"))?;
        if let Some(bearer) = step.get("bearer").and_then(Value::as_str) {
            client = client.bearer(bearer)?;
        }
        let mut grpc = Grpc::new(client.transport());
        let answer = grpc.unary(Request::new(request), format!("/{path}").parse()?, Dynamic(method.output())).await;
        match answer {
            Ok(response) => {
                // What a peer need not send, as `expect` has it: no members of default value.
                let options = SerializeOptions::new().skip_default_fields(true);
                let message = response.into_inner();
                Ok(Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?))
            }
            Err(status) => Ok(Err(status.into())),
        }
    }

    fn client(&self, whose: &str) -> Result<Client> {
        let (id, secret) = match whose {
            "demo" => return Ok(self.server.client()),
            "none" => ("", ""),
            "unknown" => ("unknown", "unknown"),
            other => return Err(format!("nobody is {other}").into()),
        };
        Ok(Connector::new(&self.server.demo().grpc).plaintext().client(id, secret).connect()?)
    }
}

/// Reads and writes messages that are known by their descriptors alone.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        out.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, octets: &mut DecodeBuf<'_>) -> std::result::Result<Option<DynamicMessage>, Status> {
        let octets = octets.copy_to_bytes(octets.remaining());
        DynamicMessage::decode(self.0.clone(), octets).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Replaces the placeholders in every string but keys.
fn filled(value: &Value, names: &Names, now: SystemTime) -> Result<Value> {
    Ok(match value {
        Value::String(text) => {
            let mut parts = text.split("${");
            let mut written = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let (name, rest) = part.split_once('}').ok_or("a placeholder has no end")?;
                written += &meant(name, names, now)?;
                written += rest;
            }
            written.into()
        }
        Value::Array(items) => items.iter().map(|item| filled(item, names, now)).collect::<Result<_>>()?,
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| Ok((name.clone(), filled(member, names, now)?)));
            Value::Object(members.collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

fn meant(name: &str, names: &Names, now: SystemTime) -> Result<String> {
    let kept = |name: &str| names.get(name).ok_or_else(|| format!("nothing is kept as {name}"));
    if name == "now" {
        let seconds = now.duration_since(UNIX_EPOCH)?.as_secs();
        return Ok(prost_types::Timestamp { seconds: seconds.try_into()?, nanos: 0 }.to_string());
    }
    if let Some(app) = name.strip_prefix("totp:") {
        return Ok(AuthenticatorApp::scan(kept(app)?)?.code_at(now));
    }
    if let Some(code) = name.strip_prefix("wrong:") {
        let code = kept(code)?;
        let (others, last) = code.split_at(code.len() - 1);
        return Ok(format!("{others}{}", (last.parse::<u8>()? + 1) % 10));
    }
    Ok(kept(name)?.clone())
}

/// Tells what of a response does not fit.
fn fits(expected: &Value, found: Option<&Value>) -> std::result::Result<(), String> {
    match (expected, found) {
        (Value::Null, None) => Ok(()),
        (Value::String(any), Some(found)) if any == "*" => match found {
            Value::String(text) if text.is_empty() => Err("an empty text".to_owned()),
            Value::Array(items) if items.is_empty() => Err("an empty list".to_owned()),
            _ => Ok(()),
        },
        (Value::Object(members), Some(Value::Object(found))) => members
            .iter()
            .try_for_each(|(name, member)| fits(member, found.get(name)).map_err(|what| format!("{name}: {what}"))),
        (Value::Array(items), Some(Value::Array(found))) if items.len() == found.len() => {
            items.iter().zip(found).try_for_each(|(item, found)| fits(item, Some(found)))
        }
        (expected, Some(found)) if expected == found => Ok(()),
        (expected, found) => Err(format!("{found:?} is not {expected}")),
    }
}

fn refused(expected: &Value, error: &Error) -> Result<()> {
    let name = format!("{:?}", error.code()); // such as InvalidArgument
    let code = name.char_indices().fold(String::new(), |code, (index, letter)| {
        let gap = if index > 0 && letter.is_uppercase() { "_" } else { "" };
        code + gap + &letter.to_uppercase().to_string()
    });
    let found = json!({
        "code": code,
        "reason": error.reason(),
        "message": expected.get("message").map(|_| error.message()),
        "retry_delay": error.retry_delay().is_some_and(|delay| !delay.is_zero()),
        "fields": error.violations().iter().map(|violation| &violation.field).collect::<Vec<_>>(),
    });
    let wanted = json!({
        "code": expected["code"],
        "reason": expected["reason"],
        "message": expected.get("message"),
        "retry_delay": expected.get("retry_delay").unwrap_or(&json!(false)),
        "fields": expected.get("fields").unwrap_or(&json!([])),
    });
    if found == wanted { Ok(()) } else { Err(format!("refused with {found}").into()) }
}

#[tokio::test]
async fn vectors() -> Result<()> {
    let text = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors.json"))?;
    let vectors: Value = serde_json::from_slice(&text)?;
    let runner = Runner { server: TestServer::open().await?, pool: DescriptorPool::decode(FILE_DESCRIPTOR_SET)? };
    let cases = vectors["cases"].as_array().ok_or("no cases")?;
    assert!(!cases.is_empty());

    let mut failed = Vec::new();
    for case in cases {
        let before = case.get("after").and_then(Value::as_str).map(|name| &vectors["preludes"][name]);
        let steps: Vec<&Value> =
            before.into_iter().chain([&case["steps"]]).flat_map(|steps| steps.as_array()).flatten().collect();
        assert!(!steps.is_empty(), "{case}");
        if let Err(error) = runner.run(&steps).await {
            failed.push(format!("{}: {error}", case["name"]));
        }
    }

    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if let Some(file) = env::var_os("COFACTOR_ROWS").filter(|file| !file.is_empty()) {
        writeln!(OpenOptions::new().create(true).append(true).open(file)?, r#"{{"row": "vectors"}}"#)?;
    }
    Ok(())
}
