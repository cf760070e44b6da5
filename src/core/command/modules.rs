//! The commands of the modules that come with Redis Stack, Redis 8 and the Valkey bundle: JSON, probabilistic types,
//! time series, search, graph. Nothing of them is taken to be blind.

use super::keys::KeySpec;
use super::table::{ONE, destination_and_counted, global, range, read, write};
use super::{Group, Kind, Written};

#[rustfmt::skip]
pub(super) static GROUPS: &[Group] = &[
    // JSON
    (&["json.arrindex", "json.arrlen", "json.get", "json.objkeys", "json.objlen", "json.resp", "json.strlen",
       "json.type"], read(ONE)),
    (&["json.mget"], read(range(1, -2, 1))),
    (&["json.debug"], read(range(2, 2, 1))),
    (&["json.arrappend", "json.arrinsert", "json.arrpop", "json.arrtrim", "json.clear", "json.del", "json.forget",
       "json.merge", "json.numincrby", "json.nummultby", "json.numpowby", "json.set", "json.strappend",
       "json.toggle"], write(ONE)),
    (&["json.mset"], write(range(1, -1, 3)).separable()),
    // Bloom and cuckoo filters, count-min sketch, top-k, t-digest
    (&["bf.card", "bf.debug", "bf.exists", "bf.info", "bf.mexists", "bf.scandump", "cf.compact", "cf.count",
       "cf.debug", "cf.exists", "cf.info", "cf.mexists", "cf.scandump", "cms.info", "cms.query", 
       "topk.info", "topk.list", "topk.query", "tdigest.byrank", "tdigest.byrevrank", "tdigest.cdf",
       "tdigest.info", "tdigest.max", "tdigest.min", "tdigest.quantile", "tdigest.rank", "tdigest.revrank",
       "tdigest.trimmed_mean"], read(ONE)),
    (&["bf.add", "bf.insert", "bf.load", "bf.loadchunk", "bf.madd", "bf.reserve", "cf.add", "cf.addnx", "cf.del",
       "cf.insert", "cf.insertnx", "cf.loadchunk", "cf.reserve", "cms.incrby", "cms.initbydim", "cms.initbyprob",
       "tdigest.add", "tdigest.create", "tdigest.reset", "topk.add", "topk.count", "topk.incrby", "topk.reserve"], write(ONE)),
    (&["cms.merge", "tdigest.merge"], write(destination_and_counted(2)).writing(Written::First)),
    // Time series
    (&["ts.get", "ts.info", "ts.range", "ts.revrange"], read(ONE)),
    (&["ts.mget", "ts.mrange", "ts.mrevrange", "ts.queryindex"], read(KeySpec::None)),
    (&["ts.add", "ts.alter", "ts.create", "ts.decrby", "ts.del", "ts.incrby"], write(ONE)),
    (&["ts.createrule", "ts.deleterule"], write(range(1, 2, 1))),
    (&["ts.madd"], write(range(1, -1, 3)).separable()),
    (&["timeseries.clusterset", "timeseries.clustersetfromshard", "timeseries.forceshardsconnection",
       "timeseries.hello", "timeseries.infocluster", "timeseries.innercommunication", "timeseries.networktest",
       "timeseries.refreshcluster"], read(KeySpec::None)),
    // Search. An index belongs to no key; a suggestion dictionary is one.
    (&["ft._list", "ft.aggregate", "ft.config", "ft.cursor", "ft.debug", "ft.dictdump", "ft.explain", "ft.explaincli",
       "ft.get", "ft.hybrid", "ft.info", "ft.mget", "ft.profile", "ft.search", "ft.spellcheck", "ft.syndump",
       "ft.tagvals"], read(KeySpec::None)),
    (&["ft._alterifnx", "ft._createifnx", "ft._dropifx", "ft._dropindexifx", "ft.alter", "ft.create", "ft.drop",
       "ft.dropindex", "ft.synadd", "ft.synupdate"], global(Kind::Other).flagged_as_write()),
    // Their module does not flag these as writes.
    (&["ft._aliasaddifnx", "ft._aliasdelifx", "ft.aliasadd", "ft.aliasdel", "ft.aliasupdate", "ft.dictadd",
       "ft.dictdel"], global(Kind::Other)),
    (&["ft.sugget", "ft.suglen"], read(ONE)),
    (&["ft.sugadd", "ft.sugdel"], write(ONE)),
    // Commands that take an index first and then a document's key.
    (&["ft.add", "ft.addhash", "ft.del", "ft.safeadd"], write(range(2, 2, 1))),
    // Graph
    (&["graph.ro_query", "graph.slowlog"], read(ONE)),
    (&["graph.config", "graph.debug", "graph.info", "graph.list", "graph.memory"], read(KeySpec::None)),
    (&["graph.bulk", "graph.delete", "graph.effect", "graph.explain", "graph.profile", "graph.query", "graph.restore"], write(ONE)),
    (&["graph.copy"], write(range(1, 2, 1)).writing(Written::Last)),
    (&["graph.udf"], global(Kind::Other)),
    (&["graph.password"], global(Kind::Other).flagged_as_write()),
    (&["graph.constraint"], write(range(2, 2, 1))),
];
