// SPDX-License-Identifier: Apache-2.0
// What a dashboard's JSON must be: Grafana's own types, with the options and fields of each kind of panel in place of the
// schema's "anything".
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
import type * as BarGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as NodeGraph from '@grafana/schema/dist/esm/raw/composable/nodegraph/panelcfg/x/NodeGraphPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has no enums: a member is written as its value.
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer Value extends number}`
      ? Value
      : never
    : T extends boolean | null | undefined
      ? T
      : T extends Array<infer Item>
        ? Array<Json<Item>>
        : T extends object
          ? { [Key in keyof T]: Json<T[Key]> }
          : T;

// The Prometheus data source's query; its type is in no published package without the whole of Grafana's UI.
interface Query {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  expr: string;
  editorMode: 'code';
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
  legendFormat?: string;
  intervalFactor?: number;
}

interface Link {
  title: string;
  url: string;
  targetBlank?: boolean;
}

type Fields<Custom> = Json<Omit<FieldConfigSource, 'defaults'>> & {
  defaults: Json<Omit<FieldConfig, 'custom' | 'links'>> & { custom?: Json<Custom>; links?: Link[] };
};

type Kind<Type extends string, Options, Custom> = Json<
  Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'title' | 'description'>
> & {
  type: Type;
  title: string;
  description: string;
  options: Json<Options>;
  fieldConfig: Fields<Custom>;
  targets: Query[];
};

type Known =
  | Kind<'bargauge', BarGauge.Options, Record<string, never>>
  | Kind<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | Kind<'nodeGraph', NodeGraph.Options, Record<string, never>>
  | Kind<'stat', Stat.Options, Record<string, never>>
  | Kind<'table', Table.Options, Table.FieldConfig>
  | Kind<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>;

export type DashboardJson = Json<Omit<Dashboard, 'panels'>> & {
  uid: string;
  title: string;
  description: string;
  editable: false;
  panels: Array<Known | Json<RowPanel>>;
};
