// Package monitor is Azure Monitor as far as other resources point to it: Log
// Analytics workspaces (Microsoft.OperationalInsights/workspaces) and
// Application Insights components (Microsoft.Insights/components), which the
// template of azure-ai-ml makes for a new workspace. They are records: no
// telemetry is taken, stored or queried.
package monitor
