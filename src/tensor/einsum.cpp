// SPDX-License-Identifier: Apache-2.0
// einsum: labels are read once and become numbers; then operands are contracted two at a time. A pair is a product of
// matrices with batches: labels of both that something still needs are batches, those that nothing needs are summed, the
// others are rows and columns. What neither strides nor a product can do is left to reshape, which copies then.
#include <invar/composed.h>
#include <invar/error.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>

namespace invar {
namespace {

// A letter's place in the alphabet, upper case before lower case as NumPy sorts them; axes of "..." follow, counted from the last.
constexpr int kLetters = 52, kLabels = kLetters + kMaxRank;
using Labels = std::vector<int>;
using LabelSet = std::uint64_t;

LabelSet bit(int label) { return LabelSet{1} << label; }
LabelSet set_of(const Labels& labels) {
    LabelSet s = 0;
    for (const int l : labels) s |= bit(l);
    return s;
}
std::string name_of(int label) {
    if (label >= kLetters) return "an axis of ...";
    return std::string("label '") + static_cast<char>(label < 26 ? 'A' + label : 'a' + label - 26) + "'";
}

struct Term {
    Labels labels;      // letters only
    int ellipsis = -1;  // how many of them stand before "..."; -1: there is none
};

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    [[noreturn]] void refuse(const std::string& what) const {
        throw InvalidArgument("einsum '" + std::string(text_) + "': " + what);
    }

    void run() {
        inputs.emplace_back();
        std::size_t i = 0;
        for (; i < text_.size(); ++i) {
            const char c = text_[i];
            Term& term = output ? *output : inputs.back();
            if (c == ' ') continue;
            if (c == ',' && !output) {
                inputs.emplace_back();
            } else if (c == '-' && !output && text_.substr(i, 2) == "->") {
                output.emplace();
                ++i;
            } else if (c == '.') {
                if (text_.substr(i, 3) != "..." || term.ellipsis >= 0)
                    refuse("a '.' at " + std::to_string(i) + " that is no single '...'");
                term.ellipsis = static_cast<int>(term.labels.size());
                i += 2;
            } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
                term.labels.push_back(c >= 'a' ? c - 'a' + 26 : c - 'A');
            } else {
                refuse(
                    "'" + std::string(1, c) + "' at " + std::to_string(i) +
                    " is no letter; write labels as letters, operands apart by ',', the result behind '->'");
            }
        }
    }

    std::vector<Term> inputs;
    std::optional<Term> output;

private:
    std::string_view text_;
};

struct Operand {
    Tensor x;
    Labels labels;  // one an axis, each once
};

class Contraction {
public:
    Contraction(std::string_view subscripts, std::span<const Tensor> operands) : parser_(subscripts) {
        parser_.run();
        if (operands.size() != parser_.inputs.size())
            parser_.refuse("names " + std::to_string(parser_.inputs.size()) + " operands, got " +
                           std::to_string(operands.size()));
        type_ = operands[0].dtype();
        for (const Tensor& x : operands) type_ = promote(type_, x.dtype());
        if (type_ == DType::pred) parser_.refuse("pred has no arithmetic; cast the operands to an integer");
        for (std::size_t i = 0; i < operands.size(); ++i) read(i, operands[i]);
        read_output();
    }

    Tensor run() {
        for (std::size_t i = 0; i < operands_.size(); ++i) sum_out(operands_[i], needed_beside(i, i));
        while (operands_.size() > 1) {
            const auto [a, b] = cheapest_pair();
            Operand both = contract(operands_[a], operands_[b], needed_beside(a, b));
            operands_.erase(operands_.begin() + static_cast<std::ptrdiff_t>(b));
            operands_[a] = std::move(both);
        }
        return arranged(operands_[0], output_);
    }

private:
    std::string operand_name(std::size_t i, const Tensor& x) const {
        return "operand " + std::to_string(i) + " of shape " + to_string(x.shape());
    }

    // The axes of operand i get their labels; where a label stands twice, its diagonal is taken.
    void read(std::size_t i, const Tensor& x) {
        const Term& term = parser_.inputs[i];
        const int named = static_cast<int>(term.labels.size()), rest = x.rank() - named;
        if (term.ellipsis < 0 ? rest != 0 : rest < 0)
            parser_.refuse(operand_name(i, x) + " has " + std::to_string(x.rank()) +
                           " axes, its subscript names " + std::to_string(named));
        Operand o{x.astype(type_), {}};
        const int before = term.ellipsis < 0 ? named : term.ellipsis;
        o.labels.assign(term.labels.begin(), term.labels.begin() + before);
        for (int k = rest; k > 0; --k) o.labels.push_back(kLetters + k - 1);
        o.labels.insert(o.labels.end(), term.labels.begin() + before, term.labels.end());
        for (int axis = 0; axis < x.rank(); ++axis)
            note_size(o.labels[static_cast<std::size_t>(axis)], x, i, axis);
        take_diagonals(o);
        operands_.push_back(std::move(o));
    }

    void note_size(int label, const Tensor& x, std::size_t operand, int axis) {
        std::optional<Dim>& known = sizes_[static_cast<std::size_t>(label)];
        const Dim size = x.shape()[axis];
        if (label >= kLetters && (size == Dim(1) || (known && *known == Dim(1)))) {
            known = known && size == Dim(1) ? *known : size;
            return;
        }
        if (known && !(*known == size))
            parser_.refuse(name_of(label) + " has " + to_string(size) + " elements in axis " +
                           std::to_string(axis) + " of " + operand_name(operand, x) + ", " +
                           to_string(*known) + " before");
        known = size;
    }

    static void take_diagonals(Operand& o) {
        for (std::size_t i = 0; i < o.labels.size(); ++i)
            for (std::size_t j = o.labels.size(); --j > i;) {
                if (o.labels[i] != o.labels[j]) continue;
                // (..., n, n) -> (..., n * n), of which every n + 1st is taken.
                const Tensor last = moveaxis(moveaxis(o.x, static_cast<int>(j), -1), static_cast<int>(i), -1);
                const std::int64_t n = last.dim(-1);
                Shape flat(
                    std::span<const Dim>(last.shape().begin(), static_cast<std::size_t>(last.rank() - 2)));
                flat.append(Dim(n * n));
                o.x = moveaxis(last.reshape(flat).slice(-1, 0, n * n, n + 1), -1, static_cast<int>(i));
                o.labels.erase(o.labels.begin() + static_cast<std::ptrdiff_t>(j));
            }
    }

    void read_output() {
        std::array<int, kLabels> uses{};
        int most = 0;
        for (std::size_t i = 0; i < operands_.size(); ++i) {
            for (const int l : parser_.inputs[i].labels) ++uses[static_cast<std::size_t>(l)];
            for (const int l : operands_[i].labels)
                if (l >= kLetters) most = std::max(most, l - kLetters + 1);
        }
        Labels ellipsis;
        for (int k = most; k > 0; --k) ellipsis.push_back(kLetters + k - 1);
        if (!parser_.output) {
            output_ = ellipsis;
            for (int l = 0; l < kLetters; ++l)
                if (uses[static_cast<std::size_t>(l)] == 1) output_.push_back(l);
            return;
        }
        const Term& term = *parser_.output;
        LabelSet seen = 0;
        for (const int l : term.labels) {
            if (uses[static_cast<std::size_t>(l)] == 0)
                parser_.refuse(name_of(l) + " of the result is in no operand");
            if (seen & bit(l)) parser_.refuse(name_of(l) + " stands twice in the result");
            seen |= bit(l);
        }
        output_ = term.labels;
        if (term.ellipsis >= 0)
            output_.insert(output_.begin() + term.ellipsis, ellipsis.begin(), ellipsis.end());
        if (output_.size() > static_cast<std::size_t>(kMaxRank))
            parser_.refuse("the result has " + std::to_string(output_.size()) +
                           " axes; a tensor has at most " + std::to_string(kMaxRank));
    }

    // Labels that the result or an operand other than a and b has.
    LabelSet needed_beside(std::size_t a, std::size_t b) const {
        LabelSet needed = set_of(output_);
        for (std::size_t i = 0; i < operands_.size(); ++i)
            if (i != a && i != b) needed |= set_of(operands_[i].labels);
        return needed;
    }

    // Axes of length 1 that stand beside longer ones broadcast: without them the operand is the same.
    void sum_out(Operand& o, LabelSet needed) {
        std::vector<int> gone;
        Labels kept;
        for (std::size_t i = o.labels.size(); i-- > 0;) {
            const int l = o.labels[i];
            const bool repeated = o.x.shape()[static_cast<int>(i)] == Dim(1) &&
                                  !(*sizes_[static_cast<std::size_t>(l)] == Dim(1));
            if (repeated) {
                o.x = o.x.squeeze(static_cast<int>(i));
                for (int& axis : gone) --axis;
            } else if ((needed & bit(l)) == 0) {
                gone.push_back(static_cast<int>(i));
            } else {
                kept.insert(kept.begin(), l);
            }
        }
        if (!gone.empty()) o.x = sum(o.x, Axes(std::span<const int>(gone))).astype(type_);
        o.labels = std::move(kept);
    }

    std::int64_t size_of_labels(LabelSet labels) const {
        std::int64_t n = 1;
        for (int l = 0; l < kLabels; ++l)
            if ((labels & bit(l)) &&
                __builtin_mul_overflow(n, sizes_[static_cast<std::size_t>(l)]->max(), &n))
                return std::numeric_limits<std::int64_t>::max();
        return n;
    }

    std::pair<std::size_t, std::size_t> cheapest_pair() const {
        std::pair<std::size_t, std::size_t> best{0, 1};
        std::int64_t least = std::numeric_limits<std::int64_t>::max();
        for (std::size_t a = 0; a < operands_.size(); ++a)
            for (std::size_t b = a + 1; b < operands_.size(); ++b) {
                const LabelSet both = set_of(operands_[a].labels) | set_of(operands_[b].labels);
                const std::int64_t size = size_of_labels(both & needed_beside(a, b));
                if (size < least) {
                    least = size;
                    best = {a, b};
                }
            }
        return best;
    }

    // The operand's axes in the order of labels, which it has all of.
    static Tensor arranged(const Operand& o, const Labels& labels) {
        std::vector<int> axes;
        for (const int l : labels)
            axes.push_back(
                static_cast<int>(std::find(o.labels.begin(), o.labels.end(), l) - o.labels.begin()));
        return o.x.permute(std::move(axes));
    }

    Dim product(const Labels& labels) const {
        Dim d(1);
        for (const int l : labels) d = d * *sizes_[static_cast<std::size_t>(l)];
        return d;
    }

    // (batch axes, first, second), each of the two one axis.
    Tensor as_matrix(const Operand& o, const Labels& batch, const Labels& first, const Labels& second) const {
        Labels all = batch;
        all.insert(all.end(), first.begin(), first.end());
        all.insert(all.end(), second.begin(), second.end());
        return arranged(o, all).reshape(with_batch(batch, {product(first), product(second)}));
    }
    Shape with_batch(const Labels& batch, std::initializer_list<Dim> more) const {
        Shape s;
        if (!batch.empty()) s.append(product(batch));
        for (const Dim& d : more) s.append(d);
        return s;
    }

    Operand contract(const Operand& a, const Operand& b, LabelSet needed) const {
        const LabelSet in_a = set_of(a.labels), in_b = set_of(b.labels);
        Labels batch, rows, columns, summed;
        for (const int l : a.labels)
            (!(in_b & bit(l)) ? rows : needed & bit(l) ? batch : summed).push_back(l);
        for (const int l : b.labels)
            if (!(in_a & bit(l))) columns.push_back(l);
        Operand result;
        result.labels = batch;
        result.labels.insert(result.labels.end(), rows.begin(), rows.end());
        result.labels.insert(result.labels.end(), columns.begin(), columns.end());
        if (result.labels.size() > static_cast<std::size_t>(kMaxRank))
            parser_.refuse("two operands come to " + std::to_string(result.labels.size()) +
                           " axes on the way; a tensor has at most " + std::to_string(kMaxRank));
        Shape shape;
        for (const int l : result.labels) shape.append(*sizes_[static_cast<std::size_t>(l)]);
        Tensor y;
        if (summed.empty()) {
            y = as_matrix(a, batch, rows, {}) * as_matrix(b, batch, {}, columns);
        } else if (compute_type(type_) == DType::f32) {
            y = matmul(as_matrix(a, batch, rows, summed), as_matrix(b, batch, summed, columns), type_);
        } else {  // (batch, rows, 1, summed) * (batch, 1, columns, summed)
            const Tensor left = as_matrix(a, batch, rows, summed),
                         right = as_matrix(b, batch, columns, summed);
            y = sum(left.expand_dims(-2) * right.expand_dims(-3), -1).astype(type_);
        }
        result.x = y.reshape(shape);
        return result;
    }

    Parser parser_;
    DType type_ = DType::f32;
    std::vector<Operand> operands_;
    Labels output_;
    std::array<std::optional<Dim>, kLabels> sizes_;
};

}  // namespace

Tensor einsum(std::string_view subscripts, std::span<const Tensor> operands) {
    if (operands.empty())
        throw InvalidArgument("einsum '" + std::string(subscripts) + "': needs at least one operand");
    return Contraction(subscripts, operands).run();
}
Tensor einsum(std::string_view subscripts, std::initializer_list<Tensor> operands) {
    return einsum(subscripts, std::span(operands.begin(), operands.size()));
}

}  // namespace invar
