// SPDX-License-Identifier: Apache-2.0
// Regions of the text that branches span, checked to nest, and then written out as control flow.
#include "program/labels.h"

#include <algorithm>
#include <map>
#include <optional>

namespace invar {
namespace {

using Kind = Statement::Kind;
using Index = std::size_t;
constexpr Index kNone = static_cast<Index>(-1);

struct Region {
    bool loop = false;
    Index begin = 0,
          end = 0;  // statements: of an IF the branch and the label, of a LOOP the label and the last branch
    Index otherwise = kNone;  // the branch that is its ELSE
    bool written = false;     // IF and LOOP as the text has them
};

class Structurer {
public:
    explicit Structurer(const std::vector<Statement>& statements) : s_(statements) {}

    std::vector<Piece> run() {
        find_labels();
        find_written();
        find_loops();
        for (Index i = 0; i < s_.size(); ++i)
            if (s_[i].kind == Kind::branch && target(i) > i) forward(i);
        for (Index i = 0; i < s_.size(); ++i) write(i);
        return std::move(out_);
    }

private:
    [[noreturn]] static void refuse(const Statement& s, const std::string& why) {
        throw FormatError("program: line " + std::to_string(s.place.line) + ", column " +
                          std::to_string(s.place.column()) + ": " + why);
    }
    [[noreturn]] void refuse_branch(Index i, const std::string& why) const {
        refuse(s_[i], "the branch to '" + s_[i].name + "' cannot become IF or LOOP: " + why);
    }

    void find_labels() {
        for (Index i = 0; i < s_.size(); ++i)
            if (s_[i].kind == Kind::label && !labels_.emplace(s_[i].name, i).second)
                refuse(s_[i], "a second label '" + s_[i].name + "'");
        for (const Statement& s : s_)
            if (s.kind == Kind::branch && !labels_.contains(s.name))
                refuse(s, "there is no label '" + s.name + "'");
    }
    Index target(Index branch) const { return labels_.at(s_[branch].name); }

    void find_written() {
        std::vector<Index> open;
        for (Index i = 0; i < s_.size(); ++i) {
            if (s_[i].kind == Kind::begin_if || s_[i].kind == Kind::begin_loop) open.push_back(i);
            const bool end_if = s_[i].kind == Kind::end_if;
            if (!end_if && s_[i].kind != Kind::end_loop && s_[i].kind != Kind::begin_else) continue;
            const bool loop = s_[i].kind == Kind::end_loop;
            if (open.empty() || (s_[open.back()].kind == Kind::begin_loop) != loop)
                refuse(s_[i], loop ? "ENDLOOP without LOOP" : "ELSE or ENDIF without IF");
            if (s_[i].kind == Kind::begin_else) continue;
            regions_.push_back({loop, open.back(), i, kNone, true});
            open.pop_back();
        }
        if (!open.empty())
            refuse(s_[open.back()], s_[open.back()].kind == Kind::begin_loop ? "a LOOP without ENDLOOP"
                                                                             : "an IF without ENDIF");
    }

    void find_loops() {
        std::map<Index, Index> last;  // label -> branch
        for (Index i = 0; i < s_.size(); ++i)
            if (s_[i].kind == Kind::branch && target(i) <= i) last[target(i)] = i;
        for (const auto& [label, branch] : last) regions_.push_back({true, label, branch, kNone, false});
    }

    // The innermost loop around a statement.
    const Region* loop_around(Index i) const {
        const Region* best = nullptr;
        for (const Region& r : regions_)
            if (r.loop && r.begin < i && i <= r.end && (best == nullptr || r.begin > best->begin)) best = &r;
        return best;
    }

    void forward(Index i) {
        const Index to = target(i);
        if (const Region* loop = loop_around(i); loop != nullptr && to > loop->end) {
            for (Index k = loop->end + 1; k < to; ++k)
                if (s_[k].kind != Kind::label)
                    refuse_branch(i, "it leaves the loop of line " +
                                         std::to_string(s_[loop->begin].place.line) +
                                         " for another place than the one that follows it");
            leaves_.push_back(i);
            return;
        }
        for (const Region& r : regions_)
            if (r.loop && to > r.begin && to <= r.end && i < r.begin)
                refuse_branch(i, "it goes into the middle of the loop of line " +
                                     std::to_string(s_[r.begin].place.line));
        // What an IF skips may end in a branch over its ELSE.
        if (s_[i].condition.empty() && i + 1 < s_.size())
            for (Region& r : regions_)
                if (!r.loop && !r.written && r.otherwise == kNone && r.begin < i && r.end == i + 1) {
                    r.otherwise = i;
                    r.end = to;
                    return;
                }
        regions_.push_back({false, i, to, kNone, false});
    }

    void emit(Piece::Kind kind, Index i, const std::string& condition = {}, bool negated = false) {
        out_.push_back({kind, s_[i].place, condition, negated});
    }

    // Ends the region that must be the innermost open one.
    void close(const Region& r, Index i) {
        if (open_.empty() || open_.back() != &r) {
            const Index other = open_.empty() ? i : open_.back()->begin;
            refuse_branch(r.loop ? r.end : r.begin, "what it spans does not nest with what begins on line " +
                                                        std::to_string(s_[other].place.line));
        }
        open_.pop_back();
    }

    const Region* begun_at(Index i, bool loop) const {
        for (const Region& r : regions_)
            if (r.begin == i && r.loop == loop) return &r;
        return nullptr;
    }

    void write(Index i) {
        const Statement& s = s_[i];
        switch (s.kind) {
            case Kind::label:
                while (!open_.empty() && !open_.back()->loop && !open_.back()->written &&
                       open_.back()->end == i) {
                    emit(Piece::Kind::end_if, i);
                    open_.pop_back();
                }
                for (const Region* r : open_)
                    if (!r->loop && !r->written && r->end == i) close(*r, i);
                if (const Region* r = begun_at(i, true)) {
                    open_.push_back(r);
                    emit(Piece::Kind::begin_loop, i);
                }
                return;
            case Kind::branch: return branch(i);
            case Kind::begin_if:
            case Kind::begin_loop: open_.push_back(begun_at(i, s.kind == Kind::begin_loop)); break;
            case Kind::begin_else:
            case Kind::end_if:
            case Kind::end_loop: {
                const Region* top = open_.empty() ? nullptr : open_.back();
                if (top == nullptr || !top->written)
                    refuse_branch(top == nullptr ? i
                                  : top->loop    ? top->end
                                                 : top->begin,
                                  "what it spans does not nest with the IF or LOOP around it");
                if (s.kind != Kind::begin_else) open_.pop_back();
                break;
            }
            case Kind::plain: break;
        }
        emit(Piece::Kind::statement, i);
    }

    void branch(Index i) {
        const Statement& s = s_[i];
        const Index to = target(i);
        if (to > i) {
            if (std::find(leaves_.begin(), leaves_.end(), i) != leaves_.end())
                return emit(Piece::Kind::leave, i, s.condition, s.negated);
            if (const Region* r = begun_at(i, false)) {
                open_.push_back(r);
                return emit(Piece::Kind::begin_if, i, s.condition, !s.negated);
            }
            if (open_.empty() || open_.back()->otherwise != i)
                refuse_branch(i, "what it spans does not nest with the IF or LOOP around it");
            return emit(Piece::Kind::begin_else, i);
        }
        const Region* loop = loop_around(i);
        if (to == i || loop == nullptr || loop->begin != to)
            refuse_branch(i, "it repeats another loop than the innermost one around it");
        if (loop->end != i) return emit(Piece::Kind::again, i, s.condition, s.negated);
        close(*loop, i);
        if (!s.condition.empty()) emit(Piece::Kind::leave, i, s.condition, !s.negated);
        emit(Piece::Kind::end_loop, i);
    }

    const std::vector<Statement>& s_;
    std::map<std::string, Index> labels_;
    std::vector<Region> regions_;
    std::vector<Index> leaves_;
    std::vector<const Region*> open_;
    std::vector<Piece> out_;
};

}  // namespace

std::vector<Piece> structure(const std::vector<Statement>& statements) {
    return Structurer(statements).run();
}

}  // namespace invar
