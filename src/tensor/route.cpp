// SPDX-License-Identifier: Apache-2.0
// Placement of a graph on two devices by a minimum cut, and its evaluation in pieces.
#include "tensor/route.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <mutex>
#include <optional>
#include <queue>
#include <unordered_map>
#include <utility>

#include <invar/error.h>
#include <invar/route.h>

#include "base/env.h"
#include "graph/calibration.h"
#include "graph/op_table.h"
#include "graph/passes.h"
#include "graph/step_cost.h"
#include "tensor/evaluate.h"

namespace invar {

using graph::Node;
using graph::NodePtr;
using graph::Op;

namespace {

// ---- options ------------------------------------------------------------------------------------------------------

RoutingOptions from_environment() {
    const std::string text = env_string("INVAR_ROUTE", "off");
    RoutingOptions options;
    std::string rest;
    const auto word = [&] {
        const std::size_t colon = rest.find(':');
        const std::string first = rest.substr(0, colon);
        rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
        return first;
    };
    rest = text;
    const std::string how = word();
    if (how == "cost") {
        options.routing = Routing::cost;
    } else if (how == "random") {
        options.routing = Routing::random;
        const std::string seed = word();
        const auto [end, error] = std::from_chars(seed.data(), seed.data() + seed.size(), options.seed);
        if (error != std::errc{} || end != seed.data() + seed.size())
            throw InvalidArgument("INVAR_ROUTE is '" + text + "'; random takes a seed: random:7");
    } else if (how != "off") {
        throw InvalidArgument("INVAR_ROUTE is '" + text + "'; use off, cost or random:SEED, then :PARTNER");
    }
    options.partner = rest;  // of several devices: cuda:1
    return options;
}

constexpr std::size_t kMaxPlacements = 1024;

struct Chosen {
    std::mutex mutex;
    RoutingOptions options = from_environment();
    // By home and structure: repeated code is placed once. What is calibrated anew counts after the next set_routing.
    std::unordered_map<std::string, std::vector<bool>> placements;
    std::atomic<bool> off = options.routing == Routing::off;
};
Chosen& chosen() {
    static Chosen chosen;
    return chosen;
}

std::shared_ptr<Device> partner_of(const Device& home, const RoutingOptions& options) {
    const std::string name = !options.partner.empty() ? options.partner : home.name() == "cpu" ? "" : "cpu";
    std::shared_ptr<Device> partner = find_device(name);
    const bool shares = partner.get() != &home && partner->supports(Feature::arithmetic) &&
                        home.supports(Feature::arithmetic);
    return shares ? partner : nullptr;
}

// ---- costs --------------------------------------------------------------------------------------------------------

bool is_source(Op op) { return op == Op::leaf || op == Op::constant || op == Op::placeholder; }
bool computed(const Node& n) { return !is_source(n.op) && !graph::is_view(n.op); }

double elements_of(const Node& n) { return static_cast<double>(n.shape.elements().value()); }
double bytes_of(const Node& n) { return elements_of(n) * static_cast<double>(size_of(n.dtype)); }

NodePtr leaf_like(const Node& n) {
    const NodePtr leaf = graph::copy_node(n, {});
    leaf->op = Op::leaf;
    leaf->attributes = {};
    leaf->storage = nullptr;
    return leaf;
}

constexpr double kImpossible = 1e6;  // seconds

// What one device takes for an operator by itself.
class NodeCosts {
public:
    NodeCosts(Device& device, std::optional<graph::Calibration> calibration)
        : device_(device), calibration_(calibration) {}

    double seconds(const Node& n) const {
        std::vector<NodePtr> inputs;
        for (const NodePtr& i : n.inputs) inputs.push_back(i->op == Op::constant ? i : leaf_like(*i));
        const graph::GraphView one = graph::collect({graph::copy_node(n, std::move(inputs))});
        try {
            const graph::Schedule schedule = graph::lower(one, device_);
            if (!calibration_) return by_size(n);
            double sum = 0;
            for (const graph::Step& step : schedule.steps)
                sum += graph::seconds(*calibration_, graph::step_cost(step, {}));
            return sum;
        } catch (const Unsupported&) {
            return kImpossible;
        }
    }

private:
    // The default break-even sizes, in nanoseconds: the cpu takes one for an element, the accelerator as many as there are
    // elements at which it is as fast.
    double by_size(const Node& n) const {
        const bool product = n.op == Op::matmul;
        const auto even =
            graph::default_break_even(product ? graph::WorkClass::matmul : graph::WorkClass::pointwise);
        return (device_.name() == "cpu" ? elements_of(n) : static_cast<double>(even)) * 1e-9;
    }

    Device& device_;
    std::optional<graph::Calibration> calibration_;
};

struct Link {
    double latency = 0, bandwidth = 0;
    double seconds(double bytes) const { return latency + (bandwidth > 0 ? bytes / bandwidth : 0); }
};
struct Links {
    Link away, back;
};
Links links_between(Device& home, const Device& partner, const std::optional<graph::Calibration>& of_home,
                    const std::optional<graph::Calibration>& of_partner) {
    const bool home_is_host = home.name() == "cpu";
    const std::optional<graph::Calibration>& accelerator = home_is_host ? of_partner : of_home;
    Links links{{4e-6, 16e9}, {4e-6, 16e9}};  // a guess, in keeping with the default sizes
    if (accelerator) {
        const Link up{accelerator->upload_latency, accelerator->upload_bandwidth},
            down{accelerator->download_latency, accelerator->download_bandwidth};
        links = home_is_host ? Links{up, down} : Links{down, up};
    }
    if (home.name() != "cpu" && partner.name() != "cpu") {  // by way of the host
        links.away.latency *= 2;
        links.back.latency *= 2;
    }
    return links;
}

// ---- the minimum cut ----------------------------------------------------------------------------------------------

// Dinic's algorithm (1970). Capacities are integers, so that the cut is the same everywhere.
class Cut {
public:
    static constexpr std::int64_t kInfinite = std::int64_t{1} << 60;
    explicit Cut(int vertices) : first_(static_cast<std::size_t>(vertices)) {}
    void edge(int from, int to, double seconds) { edge(from, to, units(seconds)); }
    void infinite(int from, int to) { edge(from, to, kInfinite); }
    int vertex() {
        first_.emplace_back();
        return static_cast<int>(first_.size()) - 1;
    }
    // Which vertices stay on the side of the source.
    std::vector<bool> source_side(int source, int sink) {
        while (levels(source, sink)) {
            next_.assign(first_.size(), 0);
            while (push(source, sink)) {}
        }
        std::vector<bool> side(first_.size());
        for (std::size_t v = 0; v < side.size(); ++v) side[v] = level_[v] >= 0;
        return side;
    }

private:
    struct Edge {
        int to;
        std::int64_t left;
    };
    static std::int64_t units(double seconds) {  // of ten picoseconds
        return static_cast<std::int64_t>(std::min(seconds, kImpossible) * 1e11);
    }
    void edge(int from, int to, std::int64_t capacity) {
        first_[static_cast<std::size_t>(from)].push_back(static_cast<int>(edges_.size()));
        edges_.push_back({to, capacity});
        first_[static_cast<std::size_t>(to)].push_back(static_cast<int>(edges_.size()));
        edges_.push_back({from, 0});
    }
    bool levels(int source, int sink) {
        level_.assign(first_.size(), -1);
        level_[static_cast<std::size_t>(source)] = 0;
        std::queue<int> open;
        open.push(source);
        while (!open.empty()) {
            const int v = open.front();
            open.pop();
            for (const int e : first_[static_cast<std::size_t>(v)]) {
                const Edge& edge = edges_[static_cast<std::size_t>(e)];
                int& level = level_[static_cast<std::size_t>(edge.to)];
                if (edge.left <= 0 || level >= 0) continue;
                level = level_[static_cast<std::size_t>(v)] + 1;
                open.push(edge.to);
            }
        }
        return level_[static_cast<std::size_t>(sink)] >= 0;
    }
    // One augmenting path, without recursion: graphs are deep.
    bool push(int source, int sink) {
        std::vector<int> path;
        int v = source;
        while (v != sink) {
            std::vector<int>& edges = first_[static_cast<std::size_t>(v)];
            std::size_t& at = next_[static_cast<std::size_t>(v)];
            const auto leads_on = [&](int e) {
                const Edge& edge = edges_[static_cast<std::size_t>(e)];
                return edge.left > 0 &&
                       level_[static_cast<std::size_t>(edge.to)] == level_[static_cast<std::size_t>(v)] + 1;
            };
            while (at < edges.size() && !leads_on(edges[at])) ++at;
            if (at < edges.size()) {
                path.push_back(edges[at]);
                v = edges_[static_cast<std::size_t>(edges[at])].to;
                continue;
            }
            if (path.empty()) return false;
            v = edges_[static_cast<std::size_t>(path.back() ^ 1)].to;
            path.pop_back();
            ++next_[static_cast<std::size_t>(v)];
        }
        std::int64_t flow = kInfinite;
        for (const int e : path) flow = std::min(flow, edges_[static_cast<std::size_t>(e)].left);
        for (const int e : path) {
            edges_[static_cast<std::size_t>(e)].left -= flow;
            edges_[static_cast<std::size_t>(e ^ 1)].left += flow;
        }
        return true;
    }

    std::vector<std::vector<int>> first_;
    std::vector<Edge> edges_;  // e ^ 1 leads back
    std::vector<int> level_;
    std::vector<std::size_t> next_;
};

// ---- placement ----------------------------------------------------------------------------------------------------

using Numbers = std::unordered_map<const Node*, std::size_t>;
Numbers numbers_of(const graph::GraphView& g) {
    Numbers numbers;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) numbers[g.nodes[i]] = i;
    return numbers;
}

std::string microseconds(double seconds) {
    if (seconds >= kImpossible) return "not possible";
    char text[32];
    std::snprintf(text, sizeof text, "%.2f us", seconds * 1e6);
    return text;
}

void place_by_cost(Device& home, const graph::GraphView& g, Placement& placement, bool reasons) {
    Device& partner = *placement.partner;
    const std::optional<graph::Calibration> of_home = graph::known_calibration(home),
                                            of_partner = graph::known_calibration(partner);
    const bool known = of_home && of_partner;
    const auto used = [&](const std::optional<graph::Calibration>& c) { return known ? c : std::nullopt; };
    const NodeCosts at_home(home, used(of_home)), there(partner, used(of_partner));
    const Links links = links_between(home, partner, used(of_home), used(of_partner));

    const Numbers numbers = numbers_of(g);
    const auto count = static_cast<int>(g.nodes.size());
    const int source = count, sink = count + 1;  // home, partner
    Cut cut(count + 2);
    std::vector<int> to_partner(g.nodes.size(), -1), to_home(g.nodes.size(), -1);
    // The value is moved once, however many read it over there.
    const auto read_by = [&](const Node* value, int consumer) {
        if (value->op == Op::constant) return;
        const std::size_t v = numbers.at(value);
        const double bytes = bytes_of(*value);
        if (to_partner[v] < 0) {
            to_partner[v] = cut.vertex();
            cut.edge(static_cast<int>(v), to_partner[v], links.away.seconds(bytes));
            to_home[v] = cut.vertex();
            cut.edge(to_home[v], static_cast<int>(v), links.back.seconds(bytes));
        }
        cut.infinite(to_partner[v], consumer);
        cut.infinite(consumer, to_home[v]);
    };
    std::vector<std::array<double, 2>> costs(g.nodes.size());
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = *g.nodes[i];
        const int v = static_cast<int>(i);
        if (n.op == Op::leaf) cut.infinite(source, v);
        if (!computed(n)) continue;
        costs[i] = {at_home.seconds(n), there.seconds(n)};
        cut.edge(v, sink, costs[i][0]);
        cut.edge(source, v, costs[i][1]);
        for (const NodePtr& input : n.inputs) read_by(graph::below_views(input.get()), v);
    }
    for (const NodePtr& o : g.outputs) read_by(o.get(), source);
    const std::vector<bool> side = cut.source_side(source, sink);
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        placement.away[i] = computed(*g.nodes[i]) && !side[i];
        if (reasons && computed(*g.nodes[i]))
            placement.reasons[i] = home.name() + " " + microseconds(costs[i][0]) + ", " + partner.name() +
                                   " " + microseconds(costs[i][1]) +
                                   (known ? "" : " by the default sizes: not calibrated (invar doctor)");
    }
}

std::uint64_t mixed(std::uint64_t x) {  // the finaliser of SplitMix64 (Steele, Lea, Flood, 2014)
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void place_by_chance(std::uint64_t seed, const graph::GraphView& g, Placement& placement, bool reasons) {
    const NodeCosts there(*placement.partner, std::nullopt);
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = *g.nodes[i];
        if (!computed(n)) continue;
        placement.away[i] = mixed(seed * 0x9e3779b97f4a7c15u + i) % 2 == 1 && there.seconds(n) < kImpossible;
        if (reasons) placement.reasons[i] = "by chance";
    }
}

// ---- pieces -------------------------------------------------------------------------------------------------------

// What one device does without asking the other. Nodes are copies; bridges are leaves for values of other pieces and of the
// whole graph, which get their storage when the piece runs.
struct Piece {
    bool away = false;
    graph::GraphView graph;
    std::vector<const Node*> results;  // of the whole graph: what graph.outputs stand for
    std::vector<std::pair<NodePtr, const Node*>> bridges;
};

std::vector<Piece> pieces_of(const graph::GraphView& g, const Placement& placement,
                             const std::shared_ptr<Device>& home) {
    const Numbers numbers = numbers_of(g);
    // Even pieces run at home. A piece runs behind those of smaller numbers.
    std::vector<std::size_t> piece(g.nodes.size(), 0);
    std::vector<bool> needed(g.nodes.size());
    std::size_t count = 0;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = *g.nodes[i];
        if (!computed(n)) continue;
        for (const NodePtr& input : n.inputs) {
            const Node* from = graph::below_views(input.get());
            if (computed(*from)) piece[i] = std::max(piece[i], piece[numbers.at(from)]);
        }
        if ((piece[i] % 2 == 1) != placement.away[i]) ++piece[i];
        count = std::max(count, piece[i] + 1);
        for (const NodePtr& input : n.inputs) {
            const Node* from = graph::below_views(input.get());
            if (computed(*from) && piece[numbers.at(from)] != piece[i]) needed[numbers.at(from)] = true;
        }
    }
    for (const NodePtr& o : g.outputs) needed[numbers.at(o.get())] = true;

    std::vector<Piece> pieces;
    for (std::size_t p = 0; p < count; ++p) {
        Piece made;
        made.away = p % 2 == 1;
        const std::shared_ptr<Device>& device = made.away ? placement.partner : home;
        std::unordered_map<const Node*, NodePtr> here;
        const auto copy = [&](const Node* n, const auto& self) -> NodePtr {
            if (const auto it = here.find(n); it != here.end()) return it->second;
            NodePtr c;
            if (graph::is_view(n->op) || n->op == Op::constant) {
                std::vector<NodePtr> inputs;
                for (const NodePtr& i : n->inputs) inputs.push_back(self(i.get(), self));
                c = graph::copy_node(*n, std::move(inputs));
            } else {
                c = leaf_like(*n);
                made.bridges.emplace_back(c, n);
            }
            if (c->device) c->device = device;
            return here[n] = c;
        };
        std::vector<NodePtr> outputs;
        for (std::size_t i = 0; i < g.nodes.size(); ++i) {
            const Node* n = g.nodes[i];
            if (!computed(*n) || piece[i] != p) continue;
            std::vector<NodePtr> inputs;
            for (const NodePtr& input : n->inputs) inputs.push_back(copy(input.get(), copy));
            const NodePtr c = graph::copy_node(*n, std::move(inputs));
            c->device = device;
            here[n] = c;
            if (!needed[i]) continue;
            outputs.push_back(c);
            made.results.push_back(n);
        }
        if (outputs.empty()) continue;
        made.graph = graph::collect(std::move(outputs));
        pieces.push_back(std::move(made));
    }
    return pieces;
}

}  // namespace

void set_routing(const RoutingOptions& options) {
    if (!options.partner.empty()) (void)find_device(options.partner);
    Chosen& c = chosen();
    const std::lock_guard lock(c.mutex);
    c.options = options;
    c.placements.clear();
    c.off = options.routing == Routing::off;
}

RoutingOptions routing_options() {
    Chosen& c = chosen();
    const std::lock_guard lock(c.mutex);
    return c.options;
}

bool Placement::at_home() const { return std::find(away.begin(), away.end(), true) == away.end(); }

Placement place(Device& home, const graph::GraphView& g, bool reasons) {
    Placement placement;
    if (chosen().off) return placement;
    const RoutingOptions options = routing_options();
    if (options.routing == Routing::off) return placement;
    // The steps of a state are in one order, which pieces would not keep.
    for (const Node* n : g.nodes)
        if (graph::has_effects(n->op)) return placement;
    placement.partner = partner_of(home, options);
    if (!placement.partner) return placement;
    const std::string key = home.name() + "\n" + g.key;
    if (!reasons) {
        const std::lock_guard lock(chosen().mutex);
        const auto known = chosen().placements.find(key);
        if (known != chosen().placements.end()) {
            placement.away = known->second;
            return placement;
        }
    }
    placement.away.resize(g.nodes.size());
    placement.reasons.resize(reasons ? g.nodes.size() : 0);
    if (options.routing == Routing::cost)
        place_by_cost(home, g, placement, reasons);
    else
        place_by_chance(options.seed, g, placement, reasons);
    const std::lock_guard lock(chosen().mutex);
    if (chosen().placements.size() >= kMaxPlacements) chosen().placements.clear();
    chosen().placements[key] = placement.away;
    return placement;
}

Storages compute_placed(graph::Executor& home, const graph::GraphView& g, const Placement& placement,
                        bool& away) {
    away = false;
    const std::shared_ptr<graph::Executor> partner = graph::Executor::of(*placement.partner);
    std::shared_ptr<Device> device;  // the home one
    for (const NodePtr& o : g.outputs)
        if (o->device) device = o->device;
    if (!device) device = find_device();
    std::unordered_map<const Node*, std::array<std::shared_ptr<graph::Storage>, 2>> values;
    const auto value_at = [&](const Node* n, bool there) {
        auto& at = values[n];
        if (n->op == Op::leaf) at[0] = n->storage;
        if (!at[there]) at[there] = copy_to(there ? placement.partner : device, *at[!there]);
        return at[there];
    };
    const std::vector<Piece> pieces = pieces_of(g, placement, device);
    std::unordered_map<const Node*, std::size_t> last_use;
    for (std::size_t p = 0; p < pieces.size(); ++p)
        for (const auto& [leaf, n] : pieces[p].bridges) last_use[n] = p;
    for (const NodePtr& o : g.outputs) last_use[o.get()] = pieces.size();
    for (std::size_t p = 0; p < pieces.size(); ++p) {
        const Piece& piece = pieces[p];
        away = piece.away;
        for (const auto& [leaf, n] : piece.bridges) leaf->storage = value_at(n, piece.away);
        graph::Executor& executor = piece.away ? *partner : home;
        const Storages made = compute(executor, piece.graph, *executor.executable(piece.graph));
        for (std::size_t i = 0; i < made.size(); ++i) values[piece.results[i]][piece.away] = made[i];
        for (const auto& [leaf, n] : piece.bridges) {
            leaf->storage = nullptr;
            if (last_use[n] == p) values.erase(n);
        }
    }
    away = false;
    Storages storages;
    for (const NodePtr& o : g.outputs) storages.push_back(value_at(o.get(), false));
    return storages;
}

std::string explain(std::span<const Tensor> tensors) {
    std::vector<NodePtr> pending;
    for (const Tensor& t : tensors) {
        NodePtr n = graph::below_views(t.node());
        if (!is_source(n->op) && std::find(pending.begin(), pending.end(), n) == pending.end())
            pending.push_back(std::move(n));
    }
    std::string text;
    while (!pending.empty()) {  // as evaluate does
        std::shared_ptr<Device> device = pending.front()->device;
        std::vector<NodePtr> here, elsewhere;
        for (NodePtr& n : pending) (n->device == device ? here : elsewhere).push_back(std::move(n));
        pending = std::move(elsewhere);
        if (!device) device = find_device();
        const std::shared_ptr<graph::Executor> executor = graph::Executor::of(*device);
        const std::lock_guard lock(executor->mutex());
        const graph::GraphView g = graph::collect(here);
        for (const Node* n : g.inputs)
            if (n->op == Op::placeholder)
                throw InvalidArgument(
                    "explain: the tensor depends on an input of a function that is being compiled; print the "
                    "function's schedule instead (CompiledFunction::to_text)");
        Placement placement = place(*device, g, true);
        if (!placement.partner) {
            placement.away.assign(g.nodes.size(), false);
            text +=
                "everything on " + device->name() + ": routing is " +
                (chosen().off ? "off" : "on, but it changes a state, or no other device shares the work") +
                "\n";
        }
        for (std::size_t i = 0; i < g.nodes.size(); ++i) {
            if (placement.reasons.empty() || placement.reasons[i].empty()) continue;
            const Node& n = *g.nodes[i];
            text += std::string(graph::op_row(n.op).name) + " " + std::string(dtype_name(n.dtype)) +
                    to_string(n.shape) + " on " + (placement.away[i] ? placement.partner : device)->name() +
                    ": " + placement.reasons[i] + "\n";
        }
        std::unordered_map<const Node*, std::array<bool, 2>> lies;
        const auto moved = [&](const Node* n, bool away) {  // bytes, once a value and side
            std::array<bool, 2>& there = lies[n];
            if (n->op == Op::leaf) there[0] = true;
            return std::exchange(there[away], true) ? 0.0 : bytes_of(*n);
        };
        const auto bytes_text = [&](double bytes, const char* where) {
            char line[64];
            std::snprintf(line, sizeof line, "%.0f bytes move %s", bytes, where);
            return placement.partner ? std::string(", ") + line : std::string();
        };
        for (const Piece& piece : pieces_of(g, placement, device)) {
            const Device& on = piece.away ? *placement.partner : *device;
            double bytes = 0;
            for (const auto& [leaf, n] : piece.bridges) bytes += moved(n, piece.away);
            for (const Node* n : piece.results) lies[n][piece.away] = true;
            const graph::Schedule schedule = graph::lower(piece.graph, on);
            text += "\non " + on.name() + bytes_text(bytes, "there first") + "\n" + graph::to_text(schedule) +
                    graph::notes_text(schedule);
        }
        double home = 0;
        for (const NodePtr& o : g.outputs) home += moved(o.get(), false);
        if (home > 0) text += "\nresults" + bytes_text(home, "home") + "\n";
    }
    return text;
}

}  // namespace invar
