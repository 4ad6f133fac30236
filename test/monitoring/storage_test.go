package monitoring

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is the time between two samples of a series.
const step = time.Minute

// at is the time of sample n of each series.
func at(n int) time.Time { return time.Unix(1_000_000, 0).Add(time.Duration(n) * step) }

var promQL = parser.NewParser(parser.Options{})

// series are what Prometheus knows, in memory. It is a [storage.Queryable].
type series []storage.Series

// parseSeries reads series in the notation of Prometheus's unit tests: `name{label="value"} 1x5 2+1x10 _x3`.
func parseSeries(t *testing.T, texts ...string) series {
	t.Helper()
	var all series
	for _, text := range texts {
		metric, values, err := promQL.ParseSeriesDesc(text)
		if err != nil {
			t.Fatalf("series %s: %v", text, err)
		}
		var points []promql.FPoint
		for i, v := range values {
			if !v.Omitted {
				points = append(points, promql.FPoint{T: at(i).UnixMilli(), F: v.Value})
			}
		}
		all = append(all, promql.NewStorageSeries(promql.Series{Metric: metric, Floats: points}))
	}
	return all
}

func (s series) Querier(int64, int64) (storage.Querier, error) { return querier{series: s}, nil }

type querier struct{ series series }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{}
	for _, s := range q.series {
		if matches(s.Labels(), matchers) {
			set.left = append(set.left, s)
		}
	}
	return set
}

func matches(l labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) (
	[]string, annotations.Annotations, error,
) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

// seriesSet hands its series out one by one.
type seriesSet struct {
	now  storage.Series
	left []storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.now, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series                { return s.now }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// query evaluates an expression at one time. Warnings of the engine are errors.
func (s series) query(expr string, when time.Time) (promql.Vector, error) {
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL,
	})
	defer engine.Close()
	q, err := engine.NewInstantQuery(context.Background(), s, nil, expr, when)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(context.Background())
	if result.Err != nil {
		return nil, result.Err
	}
	for _, warning := range result.Warnings.AsErrors() {
		if !errors.Is(warning, annotations.PromQLInfo) { // such as: MetalLB's counters don't end in _total
			return nil, warning
		}
	}
	return result.Vector()
}
