// SPDX-License-Identifier: Apache-2.0
//! The providers' files, told apart by their content. They are read in one go into the table, so that the memory taken
//! is the table's, whatever the file holds.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::table::{Builder, Table};
use crate::cloud::Provider;
use crate::operator_file::Fault;

/// Reads a whole file.
///
/// # Errors
/// The first fault: where it is no JSON its line and column, where its shape is wrong also the field's path.
pub(super) fn parse(bytes: &[u8]) -> Result<Table, Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let nowhere = |what: &str| Fault { line: 0, column: 0, what: what.to_owned() };
    let mut content = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    match content.next() {
        None => return Err(nowhere("the file is empty")),
        Some(b'<') => return Err(nowhere("this is a web page, not the file that it leads to")),
        Some(_) => {}
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let mut builder = None;
    let read =
        FileSeed(&mut builder).deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    read.map_err(|error| fault(&error, &track.path().to_string()))?;
    json.end().map_err(|error| fault(&error, "."))?;
    let unknown = "neither AWS's ip-ranges.json, nor Google's cloud.json or goog.json, nor Azure's ServiceTags: it has no prefix";
    builder.map(Builder::finish).ok_or_else(|| nowhere(unknown))
}

fn fault(error: &serde_json::Error, path: &str) -> Fault {
    let (line, column) = (error.line() as u64, error.column() as u64);
    let mut what = error.to_string();
    if let Some(at) = what.rfind(&format!(" at line {line} column {column}")) {
        what.truncate(at);
    }
    // Text of the file is quoted in it: short, and on one line.
    let mut what: String =
        what.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(300).collect();
    if error.is_data() && path != "." {
        let path: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
        what = format!("{path}: {what}");
    }
    Fault { line, column, what }
}

/// The outermost object.
struct FileSeed<'b>(&'b mut Option<Builder>);

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `prefixes` or `values`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key.0 {
                "prefixes" | "ipv6_prefixes" => map.next_value_seed(Each::<Prefix<'de>>::of(self.0))?,
                "values" => map.next_value_seed(Each::<Tag>::of(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// An element of a list, which puts itself into the table.
trait Element<'de>: Sized {
    fn read<D: Deserializer<'de>>(deserializer: D, builder: &mut Option<Builder>) -> Result<(), D::Error>;
}

/// A list of elements, or one element of it, so that a fault is known to be in that one.
struct Each<'b, T>(&'b mut Option<Builder>, PhantomData<T>);
struct One<'b, T>(&'b mut Option<Builder>, PhantomData<T>);

impl<'b, T> Each<'b, T> {
    fn of(builder: &'b mut Option<Builder>) -> Self {
        Each(builder, PhantomData)
    }
}

impl<'de, T: Element<'de>> DeserializeSeed<'de> for Each<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Element<'de>> Visitor<'de> for Each<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(One::<T>(self.0, PhantomData))?.is_some() {}
        Ok(())
    }
}

impl<'de, T: Element<'de>> DeserializeSeed<'de> for One<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        T::read(deserializer, self.0)
    }
}

/// The table of this provider; an error if the file began as another's.
fn table_of(builder: &mut Option<Builder>, provider: Provider) -> Result<&mut Builder, String> {
    let builder = builder.get_or_insert_with(|| Builder::new(provider));
    if builder.provider() != provider {
        let (one, two) = (builder.provider().as_str(), provider.as_str());
        return Err(format!("an entry as in files of {two}, but the file began as one of {one}"));
    }
    Ok(builder)
}

/// An entry of AWS or Google.
#[derive(Deserialize)]
struct Prefix<'a> {
    ip_prefix: Option<Cidr>,
    ipv6_prefix: Option<Cidr>,
    #[serde(rename = "ipv4Prefix")]
    google_v4: Option<Cidr>,
    #[serde(rename = "ipv6Prefix")]
    google_v6: Option<Cidr>,
    #[serde(borrow)]
    service: Option<Text<'a>>,
    /// AWS: `GLOBAL` where there is none.
    #[serde(borrow)]
    region: Option<Text<'a>>,
    /// Google: a region or `global`.
    #[serde(borrow)]
    scope: Option<Text<'a>>,
}

impl<'de> Element<'de> for Prefix<'de> {
    fn read<D: Deserializer<'de>>(deserializer: D, builder: &mut Option<Builder>) -> Result<(), D::Error> {
        let entry = Prefix::deserialize(deserializer)?;
        let aws = [entry.ip_prefix, entry.ipv6_prefix];
        let google = [entry.google_v4, entry.google_v6];
        let (provider, nets, region) = if aws.iter().any(Option::is_some) {
            (Provider::Aws, aws, entry.region)
        } else if google.iter().any(Option::is_some) {
            (Provider::Google, google, entry.scope)
        } else {
            return Err(D::Error::custom("has none of ip_prefix, ipv6_prefix, ipv4Prefix, ipv6Prefix"));
        };
        let service = entry.service.as_ref().map_or("", |service| &service.0);
        add(builder, provider, service, region.as_ref().map(|region| &*region.0), nets.into_iter().flatten())
            .map_err(D::Error::custom)
    }
}

/// A service tag of Azure.
#[derive(Deserialize)]
struct Tag {
    /// Of the service, then `.` and region or part.
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    region: String,
    #[serde(default)]
    system_service: String,
    address_prefixes: Cidrs,
}

impl<'de> Element<'de> for Tag {
    fn read<D: Deserializer<'de>>(deserializer: D, builder: &mut Option<Builder>) -> Result<(), D::Error> {
        let Tag { name, properties } = Tag::deserialize(deserializer)?;
        let of_name = name.split('.').next().unwrap_or_default();
        let service =
            Some(&*properties.system_service).filter(|service| !service.is_empty()).unwrap_or(of_name);
        let region = Some(&*properties.region).filter(|region| !region.is_empty());
        let nets = properties.address_prefixes.0.into_iter();
        add(builder, Provider::Azure, service, region, nets).map_err(D::Error::custom)
    }
}

fn add(
    builder: &mut Option<Builder>,
    provider: Provider,
    service: &str,
    region: Option<&str>,
    nets: impl Iterator<Item = Cidr>,
) -> Result<(), String> {
    let builder = table_of(builder, provider)?;
    let workload = builder.workload(service)?;
    let region = region.map(|region| builder.region(region)).transpose()?;
    nets.into_iter().try_for_each(|net| builder.add(net.0, workload, region))
}

/// A list of prefixes that is not longer than a table may be.
struct Cidrs(Vec<Cidr>);

impl<'de> Deserialize<'de> for Cidrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Cidrs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of prefixes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cidrs, A::Error> {
                let mut nets = Vec::new();
                while let Some(net) = list.next_element()? {
                    if nets.len() >= super::table::MAX_PREFIXES {
                        return Err(A::Error::custom(format!(
                            "more than {} prefixes",
                            super::table::MAX_PREFIXES
                        )));
                    }
                    nets.push(net);
                }
                Ok(Cidrs(nets))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// A prefix, or a single address.
struct Cidr(IpNet);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let net = text.0.parse().or_else(|_| text.0.parse::<IpAddr>().map(IpNet::from));
        net.map(Cidr).map_err(|_| D::Error::custom(format!("{:?} is no prefix such as 192.0.2.0/24", text.0)))
    }
}

/// Text, not copied where the file has it as it is.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Any)
    }
}
