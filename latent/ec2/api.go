package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// client is the calls of the API that the backend makes. They are functions, not the SDK's
// Client: a value that an interface can lead to keeps all its methods in the program, and that
// one has 800, which are 40 MB.
type client struct {
	AssociateAddress             call[ec2.AssociateAddressInput, ec2.AssociateAddressOutput]
	AttachVolume                 call[ec2.AttachVolumeInput, ec2.AttachVolumeOutput]
	CreateKeyPair                call[ec2.CreateKeyPairInput, ec2.CreateKeyPairOutput]
	CreateSecurityGroup          call[ec2.CreateSecurityGroupInput, ec2.CreateSecurityGroupOutput]
	DescribeAddresses            call[ec2.DescribeAddressesInput, ec2.DescribeAddressesOutput]
	DescribeImages               call[ec2.DescribeImagesInput, ec2.DescribeImagesOutput]
	DescribeInstanceStatus       call[ec2.DescribeInstanceStatusInput, ec2.DescribeInstanceStatusOutput]
	DescribeInstanceTypes        call[ec2.DescribeInstanceTypesInput, ec2.DescribeInstanceTypesOutput]
	DescribeInstances            call[ec2.DescribeInstancesInput, ec2.DescribeInstancesOutput]
	DescribeKeyPairs             call[ec2.DescribeKeyPairsInput, ec2.DescribeKeyPairsOutput]
	DescribeSecurityGroups       call[ec2.DescribeSecurityGroupsInput, ec2.DescribeSecurityGroupsOutput]
	DescribeSpotInstanceRequests call[ec2.DescribeSpotInstanceRequestsInput, ec2.DescribeSpotInstanceRequestsOutput]
	DescribeSpotPriceHistory     call[ec2.DescribeSpotPriceHistoryInput, ec2.DescribeSpotPriceHistoryOutput]
	DescribeSubnets              call[ec2.DescribeSubnetsInput, ec2.DescribeSubnetsOutput]
	DescribeVolumes              call[ec2.DescribeVolumesInput, ec2.DescribeVolumesOutput]
	DisassociateAddress          call[ec2.DisassociateAddressInput, ec2.DisassociateAddressOutput]
	RunInstances                 call[ec2.RunInstancesInput, ec2.RunInstancesOutput]
	TerminateInstances           call[ec2.TerminateInstancesInput, ec2.TerminateInstancesOutput]

	credentials aws.CredentialsProvider
}

type call[In, Out any] func(context.Context, *In, ...func(*ec2.Options)) (*Out, error)

func newClient(c *ec2.Client) *client {
	return &client{
		AssociateAddress:             c.AssociateAddress,
		AttachVolume:                 c.AttachVolume,
		CreateKeyPair:                c.CreateKeyPair,
		CreateSecurityGroup:          c.CreateSecurityGroup,
		DescribeAddresses:            c.DescribeAddresses,
		DescribeImages:               c.DescribeImages,
		DescribeInstanceStatus:       c.DescribeInstanceStatus,
		DescribeInstanceTypes:        c.DescribeInstanceTypes,
		DescribeInstances:            c.DescribeInstances,
		DescribeKeyPairs:             c.DescribeKeyPairs,
		DescribeSecurityGroups:       c.DescribeSecurityGroups,
		DescribeSpotInstanceRequests: c.DescribeSpotInstanceRequests,
		DescribeSpotPriceHistory:     c.DescribeSpotPriceHistory,
		DescribeSubnets:              c.DescribeSubnets,
		DescribeVolumes:              c.DescribeVolumes,
		DisassociateAddress:          c.DisassociateAddress,
		RunInstances:                 c.RunInstances,
		TerminateInstances:           c.TerminateInstances,
		credentials:                  c.Options().Credentials,
	}
}
